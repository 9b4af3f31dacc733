"""Finds rows that are missing between others, and inserts them: data.frequency.

A window is consecutive rows, and the model assumes that they are evenly spaced. A series in which
rows are missing is trained on as if no time had passed there. Without data.frequency there is a
warning that counts these gaps; with it, they are refused, or become rows to be filled.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.rows import Rows
from gru_parallel.data.steps import Steps, steps_of
from gru_parallel.data.uneven import is_uneven, missing_words, rows_are, uneven_words
from gru_parallel.errors import DataWarning, UsageError

UNCHECKED = "none"
"""The data.frequency of times that need not be evenly spaced."""

_ACCEPT = f"data.frequency={UNCHECKED} to accept this"
_MOST_ROWS_FOR_ONE = 10
"""Rows to fill for each that is there; more of them are a mistake in the frequency."""


def check_frequency(frequency: str | None, has_times: bool, missing: str) -> None:
    """Raise a UsageError if there are no times to have a frequency, or rows are to be dropped."""
    if frequency is None or frequency == UNCHECKED:
        return
    if not has_times:
        raise UsageError(
            f"data.frequency={frequency} is the step from time to time, and the file has no column "
            "of times; name it with data.time_column, or leave data.frequency out."
        )
    if missing == "drop":
        raise UsageError(
            f"data.missing=drop leaves rows out, and data.frequency={frequency} asks for all of "
            "them; use data.missing=interpolate, or leave data.frequency out."
        )


def warn_of_gaps(series: Sequence[Rows], missing: str, n_last: int | None = None) -> None:
    """Warn of missing rows, and tell how to have them refused or filled.

    Args:
        series: the rows of each series.
        missing: the user's data.missing, by which some rows may have been left out.
        n_last: only rows that are missing between so many of the last ones count, while all show
            the step; None for all.
    """
    steps = [steps_of(rows.clock) for rows in series]
    if n_last is not None:
        steps = [of_rows.between_last(n_last) for of_rows in steps]
    found = [(r, s) for r, s in zip(series, steps, strict=True) if is_uneven(s)]
    if not found:
        return
    rows, of_rows = found[0]
    text = _gaps(found, missing) if of_rows.are_even else _uneven(rows)
    warnings.warn(rows.sheet.message(text), DataWarning, stacklevel=3)


def evenly_spaced(rows: Rows, frequency: str, missing: str, n_of_series: int | None = None) -> Rows:
    """Insert the rows that are missing.

    Args:
        rows: of a series that has times.
        frequency: the user's data.frequency.
        missing: the user's data.missing.
        n_of_series: number of rows of the whole series, where these are only some of them; a long
            gap among these few is no mistake in the frequency.

    Returns:
        The series, with NaN in the rows that were inserted.

    Raises:
        UsageError: the frequency is not valid, a row lies between two of its steps, or rows are
            missing and not to be filled.
    """
    grid = _grid(rows, frequency, n_of_series or len(rows.clock))
    if np.issubdtype(grid.dtype, np.number):
        at = np.rint((rows.clock - grid[0]) / float(frequency)).astype(np.intp)
        is_off = np.abs(grid[at] - rows.clock) > 1e-6 * float(frequency)
    else:
        at = np.searchsorted(grid, rows.clock)
        is_off = ~np.isin(rows.clock, grid)
    for off in np.flatnonzero(is_off)[:1]:
        raise rows.sheet.error(
            f"{rows.describe(int(off))} is not a whole number of steps of data.frequency="
            f"{frequency} after {rows.describe(0)}; use another step, or data.frequency={UNCHECKED}"
            " to use the rows as they are."
        )
    n_missing = len(grid) - len(at)
    if n_missing and missing != "interpolate":
        first = int(np.flatnonzero(np.diff(at) > 1)[0])
        raise rows.sheet.error(
            f"at data.frequency={frequency} {rows_are(n_missing)} missing, the first "
            f"{at[first + 1] - at[first] - 1} after {rows.describe(first)}; add them, or set "
            "data.missing=interpolate to have them filled."
        )
    numbers = np.full((len(grid), rows.numbers.shape[1]), np.nan)
    numbers[at] = rows.numbers
    positions = np.full(len(grid), -1)
    positions[at] = rows.positions
    return replace(rows, numbers=numbers, times=grid, positions=positions)


def _grid(rows: Rows, frequency: str, n_of_series: int) -> NDArray[Any]:
    """All times from the first row to the last, at this frequency."""
    times, is_number = rows.clock, _as_number(frequency) is not None
    first, last = times[0], times[-1]
    too_many = rows.sheet.error(
        f"data.frequency={frequency} would make more than {_MOST_ROWS_FOR_ONE} rows of each that "
        "is there; use a longer step, or leave out the rows before a long gap."
    )
    limit = _MOST_ROWS_FOR_ONE * n_of_series
    not_valid = f"data.frequency={frequency} is not a valid step of the"
    if np.issubdtype(times.dtype, np.number):
        step = _as_number(frequency)
        if step is None or not step > 0:
            raise rows.sheet.error(
                f"{not_valid} numbers in column {rows.time_column!r}; use a number above 0."
            )
        if (last - first) / step > limit:
            raise too_many
        return np.asarray(first + step * np.arange(round(float(last - first) / step) + 1))
    try:
        offset = pd.tseries.frequencies.to_offset(frequency)
    except ValueError:
        offset = None
    if is_number or offset is None or offset.n <= 0:
        raise rows.sheet.error(
            f"{not_valid} dates in column {rows.time_column!r}; use one of pandas', as 15min, 1h, "
            "D (days), B (from Monday to Friday), W-SUN, MS (the first of each month) or ME (the "
            "last)."
        )
    start = offset.rollforward(pd.Timestamp(first))
    # Not by the difference of the two, which for centuries is too large for pandas.
    n_days = pd.Timestamp(last).to_julian_date() - start.to_julian_date()
    if n_days > limit * ((start + offset - start) / pd.Timedelta(days=1)):
        raise too_many
    return pd.date_range(first, last, freq=offset).to_numpy().astype(times.dtype)


def _as_number(frequency: str) -> float | None:
    try:
        return float(frequency)
    except ValueError:
        return None


def _uneven(rows: Rows) -> str:
    return f"{uneven_words(rows.clock, rows.time_column or 'row number')}; set {_ACCEPT}."


def _gaps(found: Sequence[tuple[Rows, Steps]], missing: str) -> str:
    rows, steps = found[0]
    step = steps.frequency if rows.times is not None else None
    remedy = ""
    if missing == "drop":
        and_step = f" and data.frequency={step}" if step else ""
        remedy = f"data.missing=interpolate{and_step} to have them filled, or "
    elif step:
        remedy = (
            f"data.frequency={step} to refuse them or, with data.missing=interpolate, to fill "
            "them, or "
        )
    after = rows.describe(int(steps.gaps[0]))
    of_all = [each for _, each in found]
    said = missing_words(of_all, step, after, are_several=bool(rows.sheet.series))
    return f"{said} Set {remedy}{_ACCEPT}."
