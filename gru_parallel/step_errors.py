"""Errors of each horizon step and target, in standardised units and in those of the series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    # Reports do without.
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StepErrors:
    """Mean errors over windows, in standardised units.

    With the task "every_step" there is one step, `horizon` rows ahead, and the mean is over all
    rows of the windows, too.

    Attributes:
        mse: mean squared errors, array of shape `(steps, targets)`.
        mae: mean absolute errors, of the same shape.
    """

    mse: NDArray[np.float64]
    mae: NDArray[np.float64]


class StepError(NamedTuple):
    """The errors of one method at one step of one target; its names are columns of a table.

    Attributes:
        target: the column that is forecast.
        step: rows ahead of the last known one, counted from 1.
        method: "model", or the name of a baseline.
        mse: mean squared error, in standardised units.
        mae: mean absolute error, in standardised units.
        mse_in_units: mean squared error, in squared units of the series.
        mae_in_units: mean absolute error, in units of the series.
    """

    target: str
    step: int
    method: str
    mse: float
    mae: float
    mse_in_units: float
    mae_in_units: float


def step_table(
    by_method: Mapping[str, StepErrors],
    targets: Sequence[str],
    steps: Sequence[int],
    scale: NDArray[np.float64],
) -> list[StepError]:
    """List errors by target, step and method.

    A column is standardised by subtracting its mean and dividing by its scale. Both a forecast and
    the truth lose the same mean, so an error in units is the standardised one times the scale, and
    a squared one times its square: nothing has to be measured twice.

    Args:
        by_method: errors of the model and of the baselines, by name.
        targets: names of the targets.
        steps: rows ahead of each step.
        scale: of each target, array of shape `(targets,)`.
    """
    return [
        StepError(
            target,
            ahead,
            method,
            float(errors.mse[step, number]),
            float(errors.mae[step, number]),
            float(errors.mse[step, number] * scale[number] ** 2),
            float(errors.mae[step, number] * scale[number]),
        )
        for number, target in enumerate(targets)
        for step, ahead in enumerate(steps)
        for method, errors in by_method.items()
    ]
