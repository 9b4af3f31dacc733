"""Finds the columns that hold the time of each row: data.time_column."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from gru_parallel.data.columns import check_names
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.time_formats import read_texts, sample
from gru_parallel.errors import UsageError

NO_TIMES = "none"
"""The data.time_column of a file whose rows have no times."""

_NAME_OF_TIMES = re.compile(
    "date|datetime|ds|epoch|time|timeidx|timeindex|timestamp|timestep|ts|unixtime|unixtimestamp"
)
_NAMES_OF_HOURS = ("hour", "hours", "hr", "time", "timeofday", "tod")
_TIME_OF_DAY = re.compile(
    r"\d{1,2}(:\d{2}){1,2}(\.\d+)?( ?[ap]m)?|\d{1,2}(\.\d{2}){2}|\d{1,2} ?[ap]m", re.IGNORECASE
)
_HOURS_OF_DAY = 24
_PARTS_OF_DATES = ("year", "month", "day", "hour", "minute", "second")


def find_time_columns(
    sheet: Sheet, named: str | Sequence[str] | None, taken: Collection[str]
) -> tuple[str, ...]:
    """Find the columns that hold the times.

    Args:
        sheet: the file's cells.
        named: the user's data.time_column: one, or several that make up the time together; None to
            look for one.
        taken: columns that the user wants for something else.

    Returns:
        The named columns; else the first one that is not numeric and mostly dates; else the first
        one whose name is that of times: date, datetime, ds, epoch, time, time_idx, timestamp,
        timestep, ts or unixtime, in any case; else year, month and day, with hour, minute and
        second if there are such. Empty where there is no such column, or "none" was named.

    Raises:
        UsageError: the file has no column of that name.
    """
    names = sheet.names
    if named is not None:
        if named in (NO_TIMES, [NO_TIMES], (NO_TIMES,)) and NO_TIMES not in names:
            return ()
        without = f"{NO_TIMES} for a file without times"
        return check_names("data.time_column", named, names, without=without)
    free = [name for name in names if name not in taken]
    dates = (name for name in free if _is_mostly_dates(sheet.frame[name]))
    called = (name for name in free if _NAME_OF_TIMES.fullmatch(_plain(name)))
    found = next(dates, None) or next(called, None)
    if found is not None:
        return (found,)
    by_part = {_plain(name): name for name in free}
    if not set(_PARTS_OF_DATES[:3]) <= by_part.keys():
        return ()
    return tuple(by_part[part] for part in _PARTS_OF_DATES if part in by_part)


def have_hhmm(sheet: Sheet, columns: Sequence[str]) -> bool:
    """Whether a time of day is a number such as 1330, for half past one, in some of the rows.

    Args:
        sheet: the file's cells.
        columns: see `find_time_columns`.
    """
    if len(columns) != 2:
        return False
    cells = sheet.frame[columns[1]]
    return is_numeric_dtype(cells) and bool((cells > _HOURS_OF_DAY).any())


def with_one_time_column(
    sheet: Sheet, columns: Sequence[str], are_hhmm: bool = False
) -> tuple[Sheet, str | None]:
    """Join the columns that make up the time together into one.

    Args:
        sheet: the file's cells, or some of its rows.
        columns: see `find_time_columns`: date and time of day, or year, month, day and so on.
        are_hhmm: whether rows before these have times of day such as 1330, see `have_hhmm`.

    Returns:
        A sheet with the joined column, and its name; None where there are no times.

    Raises:
        UsageError: the columns do not make up a time.
    """
    if len(columns) < 2:
        return sheet, (columns[0] if columns else None)
    label = " ".join(columns)
    if label in sheet.names:
        label = f"[{','.join(columns)}]"
    if {_plain(name) for name in columns} <= set(_PARTS_OF_DATES):
        cells = _assembled(sheet, columns)
    elif len(columns) == 2:
        are_hhmm = are_hhmm or have_hhmm(sheet, columns)
        dates, times_of_day = (sheet.frame[name] for name in columns)
        cells = _date_at(dates, times_of_day, are_hhmm)
    else:
        raise UsageError(
            f"data.time_column=[{','.join(columns)}] names {len(columns)} columns; give date and "
            f"time of day, as [date,time], or columns called {', '.join(_PARTS_OF_DATES)}."
        )
    return replace(sheet, frame=sheet.frame.assign(**{label: cells})), label


def time_of_day_beside(sheet: Sheet, column: str) -> str | None:
    """Find a column of times of day to go with a column of dates."""
    others = (name for name in sheet.names if name != column)
    return next((name for name in others if _is_time_of_day(name, sheet.frame[name])), None)


def is_time_of_day(cell: str) -> bool:
    """Whether a cell looks like 13:00 or 1 PM."""
    return _TIME_OF_DAY.fullmatch(cell.strip()) is not None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _is_mostly_dates(cells: "pd.Series[Any]") -> bool:
    # Half, not all: a damaged date should be reported as one, not hide the whole column.
    if is_numeric_dtype(cells):
        return False
    if is_datetime64_any_dtype(cells):
        return True
    text = sample(cells).map(str)
    n_dates = read_texts(text, [np.arange(len(text))])[0].n_read
    n_numbers = int(pd.to_numeric(text, errors="coerce").notna().sum())
    # 2020 and 20200101 could be dates, too; among other numbers they are numbers.
    return n_dates > n_numbers and n_dates * 2 > len(text)


def _is_time_of_day(name: str, cells: "pd.Series[Any]") -> bool:
    if is_numeric_dtype(cells):
        return _plain(name) in _NAMES_OF_HOURS
    first = cells.dropna().head(1)
    return len(first) > 0 and is_time_of_day(str(first.iloc[0]))


def _date_at(
    dates: "pd.Series[Any]", times_of_day: "pd.Series[Any]", are_hhmm: bool
) -> "pd.Series[Any]":
    """Date and time of day as one text, where the hour may be a number."""
    days = dates
    if is_datetime64_any_dtype(dates):
        days = dates.dt.strftime("%Y-%m-%d")
    elif is_numeric_dtype(dates):
        days = dates.astype("Int64")
    hours = times_of_day
    if is_numeric_dtype(times_of_day):
        per_hour = 100 if are_hhmm else 60
        minutes = times_of_day if are_hhmm else times_of_day * 60
        hours = minutes.map(lambda number: _clock(number, per_hour), na_action="ignore")
    texts = [column.map(lambda c: str(c).strip(), na_action="ignore") for column in (days, hours)]
    joined: pd.Series[Any] = texts[0].astype(object) + " " + texts[1].astype(object)
    return joined


def _clock(number: float, per_hour: int) -> str:
    """The time of day that a number stands for, in which an hour counts so much."""
    hour, minute = divmod(round(number), per_hour)
    return f"{hour:02}:{minute:02}"


def _assembled(sheet: Sheet, columns: Sequence[str]) -> "pd.Series[Any]":
    """Dates from their parts; without a column of their own, month and day are 1."""
    first = pd.Series(1, index=sheet.frame.index)
    parts = {"month": first, "day": first, **{_plain(name): sheet.frame[name] for name in columns}}
    if "year" not in parts:
        raise UsageError(
            f"data.time_column=[{','.join(columns)}] names no year; add its column, or a date."
        )
    numbers = {name: pd.to_numeric(cells, errors="coerce") for name, cells in parts.items()}
    times: pd.Series[Any] = pd.to_datetime(pd.DataFrame(numbers), errors="coerce")
    return times
