"""Warns of columns that count rows or time and would go in as values."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.rows import Rows
from gru_parallel.errors import DataWarning

_FEWEST_ROWS = 10
"""In fewer rows, measured values may well ascend by equal steps."""


def warn_of_counters(series: Sequence[Rows], columns: Sequence[str]) -> None:
    """Ask about columns that ascend by equal steps from row to row, in all series.

    Args:
        series: the rows of each.
        columns: names of the value columns.
    """
    if sum(len(rows.numbers) for rows in series) < _FEWEST_ROWS:
        return
    for position, name in enumerate(columns):
        if all(_counts(rows.numbers[:, position]) for rows in series):
            warnings.warn(
                f"data.path={series[0].sheet.path}: column {name!r} ascends by equal steps, as "
                "times and row numbers do, and goes in as a value; if it is one of these, set "
                f"data.time_column={name}, or list the columns that go in with data.columns.",
                DataWarning,
                stacklevel=3,
            )


def _counts(values: NDArray[np.float64]) -> bool:
    steps = np.diff(values)
    return bool(
        len(steps) == 0 or (steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0))
    )
