"""Says where rows are missing, or not evenly spaced, which windows assume that they are."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.steps import Steps, steps_of
from gru_parallel.data.table import Table
from gru_parallel.errors import DataWarning


def warn_of_uneven(tables: Sequence[Table]) -> None:
    """Warn if rows are missing from series in memory, or are not evenly spaced in time."""
    steps = [(table, steps_of(table.times)) for table in tables if table.times is not None]
    found = [(table, of_table) for table, of_table in steps if is_uneven(of_table)]
    if not found:
        return
    table, of_table = found[0]
    times = table.times
    assert times is not None
    if of_table.are_even:
        row = int(of_table.gaps[0])
        of_all = [each for _, each in found]
        after = f"row {row} ({times[row]})"
        text = missing_words(of_all, of_table.frequency, after, are_several=len(tables) > 1)
        text += " Return them too, with NaN to have them filled."
    else:
        text = f"{uneven_words(times, 'times')}; return rows at even steps, or no times."
    warnings.warn(f"{table.where}{text}", DataWarning, stacklevel=3)


def is_uneven(steps: Steps) -> bool:
    """Whether rows are missing between others, or steps differ too much to say so."""
    return not steps.are_even or len(steps.gaps) > 0


def missing_words(
    found: Sequence[Steps], step: str | None, after: str, *, are_several: bool
) -> str:
    """Say how many rows are missing, and what is made of it.

    Args:
        found: the steps of each series that lacks some.
        step: at which they are missing; None if it has no name.
        after: the row after which the first is.
        are_several: whether there are several series.
    """
    n_gaps = sum(len(steps.gaps) for steps in found)
    n_missing = sum(int(steps.n_missing.sum()) for steps in found)
    of_series = f" in {len(found)} series" if are_several else ""
    return (
        f"{rows_are(n_missing)} missing{of_series}{f' at a step of {step}' if step else ''}, in"
        f" {n_gaps} {'gap' if n_gaps == 1 else 'gaps'}, the first after {after}; windows span them"
        " as if they were not there."
    )


def uneven_words(times: NDArray[Any], name: str) -> str:
    """Say how much the steps between rows differ.

    Args:
        times: of the rows.
        name: what they are called.
    """
    lengths = np.diff(times)
    shortest, longest = lengths.min(), lengths.max()
    if np.issubdtype(lengths.dtype, np.timedelta64):
        shortest, longest = pd.Timedelta(shortest), pd.Timedelta(longest)
    return (
        f"the rows are not evenly spaced (from row to row, {name} grows by {shortest} to"
        f" {longest}), and windows are made as if they were"
    )


def rows_are(n: int) -> str:
    """Begin a sentence about so many rows."""
    return "1 row is" if n == 1 else f"{n} rows are"
