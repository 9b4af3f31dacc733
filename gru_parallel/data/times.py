"""Finds the column that says when each row was, reads it, and checks that time goes forward."""

import re
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype
from pandas.tseries.api import guess_datetime_format

from gru_parallel.data.columns import unknown_column
from gru_parallel.data.reading import Sheet
from gru_parallel.errors import UsageError

NO_TIMES = "none"
"""What data.time_column says of a file whose rows have no times."""

_NAMES_OF_TIMES = ("date", "datetime", "epoch", "time", "timestamp", "ts", "unixtime")


def find_time_column(sheet: Sheet, named: str | None, taken: Collection[str]) -> str | None:
    """Say which column holds the times.

    Args:
        sheet: the file's cells.
        named: the user's data.time_column, or None to look for one.
        taken: columns that the user wants for something else, and which are not looked at.

    Returns:
        The named column; else the first one that is not numeric and mostly dates; else the first
        one that is called as times are: date, datetime, epoch, time, timestamp, ts or unixtime, in
        small letters or capitals. None where there is no such column, or "none" was named.

    Raises:
        UsageError: the file has no column of that name.
    """
    names = [str(name) for name in sheet.frame.columns]
    if named is not None:
        if named in names:
            return named
        if named == NO_TIMES:
            return None
        raise unknown_column("data.time_column", named, names)
    free = [name for name in names if name not in taken]
    dates = (name for name in free if _is_mostly_dates(sheet.frame[name]))
    return next(dates, None) or next(filter(_is_called_as_times_are, free), None)


def read_times(sheet: Sheet, column: str) -> NDArray[Any]:
    """Read the times of all rows.

    Args:
        sheet: the file's cells.
        column: the time column, of dates or of numbers.

    Returns:
        Array of shape `(rows,)`: of datetime64 (in UTC, where the file names a time zone), or of
        float64 where the column holds numbers; NaT or NaN where a cell is no time.
    """
    return np.asarray(_parse(sheet.frame[column]).to_numpy())


def check_times(sheet: Sheet, column: str, times: NDArray[Any]) -> None:
    """Refuse a series in which time does not go forward from each row to the next.

    Args:
        sheet: the cells of one series.
        column: the time column.
        times: what it holds, array of shape `(rows,)`, see `read_times`.

    Raises:
        UsageError: a row has no time, or the rows are out of order or repeat a time.
    """
    cells = sheet.frame[column]
    bad = np.flatnonzero(pd.isna(times))
    if len(bad):
        cell = cells.iloc[int(bad[0])]
        what = "is empty" if pd.isna(cell) else f"holds {str(cell)!r}, which is no time"
        raise sheet.error(
            f"row {sheet.row(int(bad[0]))}, column {column!r} {what}; correct it, or name "
            f"another column, or {NO_TIMES}, with data.time_column."
        )
    backwards = np.flatnonzero(times[1:] <= times[:-1])
    if not len(backwards):
        return
    raise _not_ascending(sheet, column, int(backwards[0]), times)


def _not_ascending(sheet: Sheet, column: str, before: int, times: NDArray[Any]) -> UsageError:
    """An error about the row after the one at the position `before`, ready to be raised."""
    after = before + 1
    earlier, later = sheet.frame[column].iloc[before], sheet.frame[column].iloc[after]
    row, row_before = sheet.row(after), sheet.row(before)
    if times[after] == times[before]:
        problem = f"row {row} repeats the time of row {row_before}, {column}={later}"
        remedies = ["keep one of them"]
    else:
        problem = (
            f"row {row} ({column}={later}) is earlier than row {row_before} ({column}={earlier})"
        )
        remedies = [f"sort the file by {column!r}"]
    if not sheet.series:
        remedies.append("tell series apart by a column with data.series_column")
    if is_numeric_dtype(times):
        remedies.append(f"set data.time_column={NO_TIMES} if {column!r} holds no times")
    return sheet.error(f"{problem}; {_either(remedies)}.")


def _either(remedies: Sequence[str]) -> str:
    *others, last = remedies
    return f"{', '.join(others)}, or {last}" if others else last


def _is_called_as_times_are(name: str) -> bool:
    return re.sub(r"[\s_-]", "", name).casefold() in _NAMES_OF_TIMES


def _is_mostly_dates(cells: "pd.Series[Any]") -> bool:
    # Half, not all: one damaged date should be named as such, not hide the whole column.
    if is_numeric_dtype(cells):
        return False
    times = _parse(cells)
    return not is_numeric_dtype(times) and int(times.notna().sum()) * 2 > int(cells.notna().sum())


def _parse(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """The times in a column, missing where a cell is none."""
    if is_numeric_dtype(cells):
        return cells.astype(np.float64)
    if is_datetime64_any_dtype(cells):
        return _without_zone(pd.to_datetime(cells, utc=True))
    text = cells.map(str, na_action="ignore")
    best = _without_zone(pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True))
    for form in _guessed_formats(text):
        times = _without_zone(pd.to_datetime(text, format=form, errors="coerce", utc=True))
        if times.notna().sum() > best.notna().sum():
            best = times
    numbers = pd.to_numeric(text, errors="coerce").astype(np.float64)
    # Some numbers, as 2020 and 20200101, could be dates too; among numbers they are numbers.
    return best if best.notna().sum() > numbers.notna().sum() else numbers


def _guessed_formats(text: "pd.Series[Any]") -> list[str]:
    """The formats that the first cell could have: month before day, then day before month."""
    first = text.dropna().head(1).tolist()
    with warnings.catch_warnings():
        # Which of the two it is, the other cells decide; pandas would warn about the first alone.
        warnings.filterwarnings("ignore", message="Parsing dates in", category=UserWarning)
        guesses = [guess_datetime_format(cell, dayfirst=d) for cell in first for d in (False, True)]
    # Nobody writes year, day, month: one damaged ISO date would turn all the others around.
    return [form for form in guesses if form and not re.match("%Y.%d", form)]


def _without_zone(times: "pd.Series[Any]") -> "pd.Series[Any]":
    naive: pd.Series[Any] = times.dt.tz_localize(None)
    return naive
