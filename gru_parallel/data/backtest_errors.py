"""Errors of a backtest by series, target, horizon step and method.

MSE and MAE as everywhere; and two that can be compared between series, of which packages have
several definitions. Here, with the values of one series, target and step:

MASE is the mean absolute error over that of the naive forecast of one step inside the history: the
mean of |y(t) - y(t - m)| over all rows up to the series' first origin, with m = data.season_length,
or 1 without one (Hyndman and Koehler, "Another look at measures of forecast accuracy", Int. J. of
Forecasting 22, 2006). It is unknown where that is 0, as in a flat history, or where there are no
more than m rows.

MAPE is the mean of |y - y_hat| / |y| over the values y that are not 0, as a share and not in
percent; it is unknown where all are 0. `zeros` counts those that were left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class BacktestError(NamedTuple):
    """The errors of one method at one step of one target of one series; a row of backtest.csv.

    Attributes:
        unique_id: name of the series.
        target: the column that is forecast.
        step: rows ahead of the origin, counted from 1.
        method: "model", or the name of a baseline.
        n: number of values, one for each origin.
        mse: mean squared error, in the standardised units of the run.
        mae: mean absolute error, in these units.
        mse_in_units: mean squared error, in squared units of the series.
        mae_in_units: mean absolute error, in units of the series.
        mase: see above; NaN where it is unknown.
        mape: see above; NaN where it is unknown.
        zeros: number of values that are 0, which `mape` leaves out.
    """

    unique_id: str
    target: str
    step: int
    method: str
    n: int
    mse: float
    mae: float
    mse_in_units: float
    mae_in_units: float
    mase: float
    mape: float
    zeros: int


class BacktestErrors:
    """Adds up the errors of a backtest.

    Args:
        series: names of all series, forecast or not.
        targets: names of the targets.
        steps: rows ahead of each step.
    """

    def __init__(self, series: Sequence[str], targets: Sequence[str], steps: Sequence[int]) -> None:
        self._series, self._targets, self._steps = series, targets, steps
        self._shape = (len(series), len(steps), len(targets))
        self._sums: dict[str, Values] = {}
        self._counts: dict[str, Values] = {}

    def add(
        self, method: str, series: NDArray[np.intp], came: Values, forecast: NDArray[np.floating]
    ) -> None:
        """Count forecasts of some windows, in the units of the series.

        Args:
            method: that made them.
            series: number of each window's series, array of shape `(windows,)`.
            came: array of shape `(windows, steps, targets)`.
            forecast: array of the same shape.
        """
        is_zero = came == 0
        absolute = np.abs(forecast - came)
        relative = absolute / np.where(is_zero, np.inf, np.abs(came))
        sums = self._sums.setdefault(method, np.zeros((3, *self._shape)))
        counts = self._counts.setdefault(method, np.zeros((2, *self._shape)))
        for total, values in (
            *zip(sums, (absolute**2, absolute, relative), strict=True),
            *zip(counts, (np.ones_like(came), is_zero), strict=True),
        ):
            np.add.at(total, series, values)

    def table(self, scale: Values, naive: Values) -> list[BacktestError]:
        """List the errors by series, target, step and method; a series without any is left out.

        Args:
            scale: that standardises each target, array of shape `(targets,)`.
            naive: mean absolute error of the naive forecast in the history of each series, see
                `naive_error`, array of shape `(series, targets)`.
        """
        return [
            self._row(method, at, scale[at[2]], naive[at[0], at[2]])
            for at in self._places()
            for method in self._sums
        ]

    def mean(self, scale: Values) -> dict[str, dict[str, Values]]:
        """Return the standardised errors of each method, over all series and targets.

        Returns:
            By method, "mse" and "mae", arrays of shape `(steps,)`.
        """
        found = {}
        for method, (squared, absolute, _) in self._sums.items():
            n = self._counts[method][0].sum(axis=(0, 2))
            mse, mae = (squared / scale**2).sum(axis=(0, 2)), (absolute / scale).sum(axis=(0, 2))
            found[method] = {"mse": mse / n, "mae": mae / n}
        return found

    def _places(self) -> Iterator[tuple[int, int, int]]:
        """Yield series, step and target, in the order of the table."""
        n, _ = next(iter(self._counts.values()))
        n_series, n_steps, n_targets = self._shape
        for series, target, step in np.ndindex(n_series, n_targets, n_steps):
            at = series, step, target
            if n[at]:
                yield at

    def _row(
        self, method: str, at: tuple[int, int, int], scale: float, naive: float
    ) -> BacktestError:
        series, step, target = at
        n, zeros = (int(count[at]) for count in self._counts[method])
        squared, absolute, relative = (float(total[at]) for total in self._sums[method])
        mse, mae = squared / n, absolute / n
        return BacktestError(
            self._series[series],
            self._targets[target],
            self._steps[step],
            method,
            n,
            mse / scale**2,
            mae / scale,
            mse,
            mae,
            mae / naive if naive > 0 else float("nan"),
            relative / (n - zeros) if n > zeros else float("nan"),
            zeros,
        )


def naive_error(history: Values, season_length: int | None) -> Values:
    """Return the mean absolute error of the naive forecast inside a history; see MASE above.

    Args:
        history: of one series, in its units, array of shape `(rows, targets)`.
        season_length: rows of a season; None for 1.

    Returns:
        Array of shape `(targets,)`; NaN if the history is not longer than a season.
    """
    period = season_length or 1
    if len(history) <= period:
        return np.full(history.shape[1], np.nan)
    error: Values = np.abs(history[period:] - history[:-period]).mean(axis=0)
    return error
