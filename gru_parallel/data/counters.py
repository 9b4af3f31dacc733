"""Warns of value columns that may rather count rows or time."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.rows import Rows
from gru_parallel.errors import DataWarning

_FEWEST_ROWS = 10
"""In fewer rows, measured values may well ascend in equal steps."""


def warn_of_counters(series: Sequence[Rows], columns: Sequence[str]) -> None:
    """Warn of columns that ascend in equal steps from row to row, in all series.

    Args:
        series: the rows of each series.
        columns: names of the value columns.
    """
    if sum(len(rows.numbers) for rows in series) < _FEWEST_ROWS:
        return
    if all(len(rows.numbers) < 2 for rows in series):
        # No series has a step.
        return
    for position, name in enumerate(columns):
        if all(_counts(rows.numbers[:, position]) for rows in series):
            warnings.warn(
                f"data.path={series[0].sheet.path}: column {name!r} ascends in equal steps, as "
                "times and row numbers do, and is used as a value; if it is one of these, set "
                f"data.time_column={name}, or list the columns to use in data.columns.",
                DataWarning,
                stacklevel=3,
            )


def _counts(values: NDArray[np.float64]) -> bool:
    steps = np.diff(values)
    is_even = len(steps) == 0 or (steps[0] > 0 and np.allclose(steps, steps[0], 1e-6, 0))
    return bool(is_even)
