"""The built-in series: Lorenz-96, a chaotic system that needs no download.

E. N. Lorenz, "Predictability: a problem partly solved", ECMWF Seminar on Predictability, 1996.
"""

import math

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.table import Table, tables_from_arrays
from gru_parallel.errors import UsageError, check_positive

_N_SPIN_UP_STEPS = 1000


def lorenz96_table(
    n_steps: int,
    n_channels: int,
    seed: int,
    targets: tuple[str, ...] | None = None,
    forcing: float = 8.0,
    dt: float = 0.05,
) -> Table:
    """The series as a table without times, whose columns are x0, x1, ...

    The arguments are those of `lorenz96`, and `targets`: the columns to forecast, None for all.
    """
    values = lorenz96(n_steps, n_channels, seed, forcing, dt)
    (table,) = tables_from_arrays([values], targets=targets)
    return table


def lorenz96(
    n_steps: int, n_channels: int, seed: int, forcing: float = 8.0, dt: float = 0.05
) -> NDArray[np.float64]:
    """Integrate the system from a random start.

    Args:
        n_steps: rows to return.
        n_channels: variables on the ring, at least 4.
        seed: of the random start.
        forcing: 8 and above is chaotic.
        dt: time between rows; 0.05 stands for about six hours of weather.

    Returns:
        Array of shape `(n_steps, n_channels)`, from when the system no longer depends on its start.

    Raises:
        UsageError: an argument is out of range, or the numbers grow without bounds.
    """
    if n_channels < 4:
        raise UsageError(f"data.n_channels={n_channels} is too few for Lorenz-96; use 4 or more.")
    check_positive("data.n_steps", n_steps)
    if not 0 <= seed < 2**32:
        raise UsageError(
            f"data.seed={seed} is not a valid seed; use a whole number from 0 to {2**32 - 1}."
        )
    if not math.isfinite(forcing):
        raise UsageError(
            f"data.forcing={forcing} is not a finite number; use 8 for a chaotic series."
        )
    if not (math.isfinite(dt) and dt > 0):
        raise UsageError(
            f"data.dt={dt} is not a valid time between rows; use a number above 0, as 0.05."
        )
    x = forcing + np.random.default_rng(seed).standard_normal(n_channels)
    series = np.empty((n_steps, n_channels))
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(-_N_SPIN_UP_STEPS, n_steps):
            x = advance(x, forcing, dt)
            if step >= 0:
                series[step] = x
    # What is not finite once never is again.
    if not np.isfinite(x).all():
        raise UsageError(
            f"data.forcing={forcing:g} with data.dt={dt:g} makes numbers grow without "
            "bounds; use a smaller data.dt, 0.05 for a forcing of 8."
        )
    return series


def advance(x: NDArray[np.float64], forcing: float, dt: float) -> NDArray[np.float64]:
    """Take one step of dx_i/dt = (x_(i+1) - x_(i-2)) x_(i-1) - x_i + forcing, by Runge-Kutta.

    Args:
        x: state, array of shape `(n_channels,)`.
        forcing: the constant force.
        dt: length of the step, whose error is of order dt^5.

    Returns:
        The state after the step, of the same shape.
    """
    ring = np.empty(len(x) + 3)

    def slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
        ring[:2], ring[2:-1], ring[-1] = x[-2:], x, x[0]
        return (ring[3:] - ring[:-3]) * ring[1:-2] - x + forcing

    k1 = slope(x)
    k2 = slope(x + dt / 2 * k1)
    k3 = slope(x + dt / 2 * k2)
    k4 = slope(x + dt * k3)
    return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
