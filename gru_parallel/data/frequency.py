"""Finds rows that are missing between others, and puts them in: data.frequency.

A window is consecutive rows, and its model takes them as evenly spaced. So a series whose times
leave rows out is trained on as if time had not gone on between. Without data.frequency there is a
warning that counts these places; with it, they are refused, or become gaps to be filled.
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
from gru_parallel.errors import DataWarning, UsageError

UNCHECKED = "none"
"""What data.frequency says of times that need not be evenly spaced."""

_MOST_ROWS_FOR_ONE = 10
"""Rows to fill for each that is there; more of them are a mistake in the frequency."""


def check_frequency(frequency: str | None, has_times: bool, missing: str) -> None:
    """Refuse a data.frequency that cannot be kept to, whatever the rows.

    Raises:
        UsageError: there are no times, or rows are to be left out.
    """
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


def warn_of_gaps(series: Sequence[Rows], missing: str) -> None:
    """Say how many rows are missing, and how to have them refused or filled.

    Args:
        series: the rows of each.
        missing: the user's data.missing, by which some rows may have been left out.
    """
    steps = [steps_of(rows.clock) for rows in series]
    found = [(r, s) for r, s in zip(series, steps, strict=True) if not s.are_even or len(s.gaps)]
    if not found:
        return
    rows, of_rows = found[0]
    says = _gaps(found, missing) if of_rows.are_even else _uneven(rows)
    warnings.warn(rows.sheet.message(says), DataWarning, stacklevel=3)


def evenly_spaced(rows: Rows, frequency: str, missing: str) -> Rows:
    """Put in the rows that are missing.

    Args:
        rows: of a series that has times.
        frequency: the user's data.frequency.
        missing: the user's data.missing.

    Returns:
        The series, with NaN in the rows that were put in.

    Raises:
        UsageError: the frequency is none, a row lies between two times, or rows are missing and are
            not to be filled.
    """
    grid = _laid_out(rows, frequency)
    places = _places(rows, grid, frequency)
    n_missing = len(grid) - len(places)
    if n_missing and missing != "interpolate":
        first = int(np.flatnonzero(np.diff(places) > 1)[0])
        raise rows.sheet.error(
            f"at data.frequency={frequency} {_n_rows(n_missing)} missing, the first "
            f"{places[first + 1] - places[first] - 1} after {rows.place(first)}; add them, or set "
            "data.missing=interpolate to have them filled."
        )
    numbers = np.full((len(grid), rows.numbers.shape[1]), np.nan)
    numbers[places] = rows.numbers
    positions = np.full(len(grid), -1)
    positions[places] = rows.positions
    return replace(rows, numbers=numbers, times=grid, positions=positions)


def _places(rows: Rows, grid: NDArray[Any], frequency: str) -> NDArray[np.intp]:
    """The position of each row among the times of the grid."""
    if np.issubdtype(grid.dtype, np.number):
        step = float(frequency)
        places = np.rint((rows.clock - grid[0]) / step).astype(np.intp)
        is_off = np.abs(grid[places] - rows.clock) > 1e-6 * step
    else:
        places = np.searchsorted(grid, rows.clock)
        is_off = ~np.isin(rows.clock, grid)
    if is_off.any():
        off = int(np.flatnonzero(is_off)[0])
        raise rows.sheet.error(
            f"{rows.place(off)} is not at a whole number of steps of data.frequency={frequency} "
            f"from {rows.place(0)} on; use another step, or data.frequency={UNCHECKED} to take the "
            "rows as they come."
        )
    return np.asarray(places, dtype=np.intp)


def _laid_out(rows: Rows, frequency: str) -> NDArray[Any]:
    times = rows.clock
    first, last = times[0], times[-1]
    too_many = rows.sheet.error(
        f"data.frequency={frequency} would make more than {_MOST_ROWS_FOR_ONE} rows of each that "
        "is there; use a longer step."
    )
    limit = _MOST_ROWS_FOR_ONE * len(times)
    if np.issubdtype(times.dtype, np.number):
        step = _as_number(frequency)
        if step is None or not step > 0:
            raise rows.sheet.error(
                f"data.frequency={frequency} is no step of the numbers in column "
                f"{rows.time_column!r}; use a number above 0."
            )
        if (last - first) / step > limit:
            raise too_many
        return np.asarray(first + step * np.arange(round(float(last - first) / step) + 1))
    offset = _offset(frequency)
    if offset is None:
        raise rows.sheet.error(
            f"data.frequency={frequency} is no step of the dates in column "
            f"{rows.time_column!r}; use one of pandas', as 15min, 1h, D (days), B (from Monday to "
            "Friday), W-SUN, MS (the first of each month) or ME (the last)."
        )
    start = offset.rollforward(pd.Timestamp(first))
    # Not by the difference of the two, which for centuries is too large for pandas.
    n_days = pd.Timestamp(last).to_julian_date() - start.to_julian_date()
    if n_days > limit * ((start + offset - start) / pd.Timedelta(days=1)):
        raise too_many
    return pd.date_range(first, last, freq=offset).to_numpy().astype(times.dtype)


def _offset(frequency: str) -> Any:
    if _as_number(frequency) is not None:
        return None
    try:
        offset = pd.tseries.frequencies.to_offset(frequency)
    except ValueError:
        return None
    return offset if offset.n > 0 else None


def _as_number(frequency: str) -> float | None:
    try:
        return float(frequency)
    except ValueError:
        return None


def _uneven(rows: Rows) -> str:
    lengths = np.diff(rows.clock)
    shortest, longest = lengths.min(), lengths.max()
    if np.issubdtype(lengths.dtype, np.timedelta64):
        shortest, longest = pd.Timedelta(shortest), pd.Timedelta(longest)
    return (
        f"the rows are not evenly spaced ({rows.time_column or 'row number'} goes on by {shortest} "
        f"to {longest} from row to row), and a window takes them as if they were; set "
        f"data.frequency={UNCHECKED} to leave it at that."
    )


def _gaps(found: Sequence[tuple[Rows, Steps]], missing: str) -> str:
    rows, steps = found[0]
    n_gaps = sum(len(steps.gaps) for _, steps in found)
    n_missing = sum(int(steps.n_missing.sum()) for _, steps in found)
    of_series = f" in {len(found)} series" if rows.sheet.series else ""
    step = steps.frequency if rows.times is not None else None
    ways = [f"data.frequency={UNCHECKED} to leave it at that"]
    if missing == "drop":
        and_step = f" and data.frequency={step}" if step else ""
        ways.insert(0, f"data.missing=interpolate{and_step} to have them filled")
    elif step:
        ways.insert(
            0,
            f"data.frequency={step} to refuse them or, with data.missing=interpolate, to fill them",
        )
    return (
        f"{_n_rows(n_missing)} missing{of_series}{f' at a step of {step}' if step else ''}, in "
        f"{n_gaps} {'gap' if n_gaps == 1 else 'gaps'}, the first after "
        f"{rows.place(int(steps.gaps[0]))}; windows go on across as if there were none. Set "
        f"{', or '.join(ways)}."
    )


def _n_rows(n: int) -> str:
    return "1 row is" if n == 1 else f"{n} rows are"
