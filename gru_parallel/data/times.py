"""Finds the column that says when each row was, reads it, and checks that time goes forward."""

import re
import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype
from pandas.tseries.api import guess_datetime_format

from gru_parallel.data.columns import unknown_column
from gru_parallel.data.reading import Sheet


def find_time_column(sheet: Sheet, named: str | None, taken: Collection[str]) -> str | None:
    """Say which column holds the times.

    Args:
        sheet: the file's cells.
        named: the user's data.time_column, or None to look for one.
        taken: columns that the user wants for something else, and which are not looked at.

    Returns:
        The named column; else the first one that is not numeric and mostly dates; else None.

    Raises:
        UsageError: the file has no column of that name.
    """
    names = [str(name) for name in sheet.frame.columns]
    if named is not None:
        if named not in names:
            raise unknown_column("data.time_column", named, names)
        return named
    free = (name for name in names if name not in taken)
    return next((name for name in free if _is_mostly_dates(sheet.frame[name])), None)


def read_times(sheet: Sheet, column: str) -> NDArray[Any]:
    """Read the times of all rows.

    Args:
        sheet: the file's cells.
        column: the time column, of dates or of numbers.

    Returns:
        Array of shape `(rows,)`: of datetime64 (in UTC, where the file names a time zone), or of
        float64 where the column is numeric.

    Raises:
        UsageError: a cell is no time.
    """
    cells = sheet.frame[column]
    times = _parse(cells)
    bad = np.flatnonzero(times.isna())
    if len(bad):
        cell = cells.iloc[int(bad[0])]
        what = "is empty" if pd.isna(cell) else f"holds {str(cell)!r}, which is no time"
        raise sheet.error(
            f"row {sheet.row(int(bad[0]))}, column {column!r} {what}; correct it, or name "
            "another column with data.time_column."
        )
    return np.asarray(times.to_numpy())


def check_ascending(sheet: Sheet, column: str, times: NDArray[Any]) -> None:
    """Refuse a series in which time does not go forward from each row to the next.

    Args:
        sheet: the cells of one series.
        column: the time column.
        times: what it holds, array of shape `(rows,)`.

    Raises:
        UsageError: the rows are out of order or repeat a time.
    """
    backwards = np.flatnonzero(times[1:] <= times[:-1])
    if not len(backwards):
        return
    before = int(backwards[0])
    after = before + 1
    earlier, later = sheet.frame[column].iloc[before], sheet.frame[column].iloc[after]
    row, row_before = sheet.row(after), sheet.row(before)
    hint = "" if sheet.series else ", or tell series apart by a column with data.series_column"
    if times[after] == times[before]:
        raise sheet.error(
            f"row {row} repeats the time of row {row_before}, {column}={later}; "
            f"keep one of them{hint}."
        )
    raise sheet.error(
        f"row {row} ({column}={later}) is earlier than row {row_before} ({column}={earlier}); "
        f"sort the file by {column!r}{hint}."
    )


def _is_mostly_dates(cells: "pd.Series[Any]") -> bool:
    # Half, not all: one damaged date should be named as such, not hide the whole column.
    if is_numeric_dtype(cells):
        return False
    return int(_parse(cells).notna().sum()) * 2 > int(cells.notna().sum())


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
    return best


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
