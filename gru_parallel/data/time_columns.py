"""Finds the columns that say when each row was: data.time_column."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from gru_parallel.data.columns import unknown_column
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.time_formats import read_texts, sample
from gru_parallel.errors import UsageError

NO_TIMES = "none"
"""What data.time_column says of a file whose rows have no times."""

_NAMES_OF_TIMES = (
    "date",
    "datetime",
    "ds",
    "epoch",
    "time",
    "timeidx",
    "timeindex",
    "timestamp",
    "timestep",
    "ts",
    "unixtime",
    "unixtimestamp",
)
_NAMES_OF_HOURS = ("hour", "hours", "hr", "time", "timeofday", "tod")
_TIME_OF_DAY = re.compile(
    r"\d{1,2}(:\d{2}){1,2}(\.\d+)?( ?[ap]m)?|\d{1,2}(\.\d{2}){2}|\d{1,2} ?[ap]m", re.IGNORECASE
)
_PARTS_OF_DATES = ("year", "month", "day", "hour", "minute", "second")


def find_time_columns(
    sheet: Sheet, named: str | Sequence[str] | None, taken: Collection[str]
) -> tuple[str, ...]:
    """Say which columns hold the times.

    Args:
        sheet: the file's cells.
        named: the user's data.time_column: one, or several that together say when a row was; None
            to look for one.
        taken: columns that the user wants for something else, and which are not looked at.

    Returns:
        The named columns; else the first one that is not numeric and mostly dates; else the first
        one that is called as times are: date, datetime, ds, epoch, time, time_idx, timestamp,
        timestep, ts or unixtime, in small letters or capitals; else those that are called year,
        month and day, with hour, minute and second as far as there are such. None of them where
        there is no such column, or "none" was named.

    Raises:
        UsageError: the file has no column of that name.
    """
    names = sheet.names
    if named is not None:
        return _named(names, [named] if isinstance(named, str) else list(named))
    free = [name for name in names if name not in taken]
    dates = (name for name in free if _is_mostly_dates(sheet.frame[name]))
    found = next(dates, None) or next(filter(_is_called_as_times_are, free), None)
    return _parts_of_dates(free) if found is None else (found,)


def _parts_of_dates(names: Sequence[str]) -> tuple[str, ...]:
    """The columns that say year, month and day, and what goes with them; () without these."""
    by_part = {_plain(name): name for name in names}
    found = tuple(by_part[part] for part in _PARTS_OF_DATES if part in by_part)
    return found if set(_PARTS_OF_DATES[:3]) <= by_part.keys() else ()


def with_one_time_column(sheet: Sheet, columns: Sequence[str]) -> tuple[Sheet, str | None]:
    """Make one column of those that together say when a row was.

    Args:
        sheet: the file's cells.
        columns: see `find_time_columns`: date and time of day, or year, month, day and so on.

    Returns:
        A sheet that has the column, and its name; None where there are no times.

    Raises:
        UsageError: the columns do not make a time.
    """
    if len(columns) < 2:
        return sheet, (columns[0] if columns else None)
    label = " ".join(columns)
    if label in sheet.names:
        label = f"[{','.join(columns)}]"
    if {_plain(name) for name in columns} <= set(_PARTS_OF_DATES):
        cells = _assembled(sheet, columns)
    elif len(columns) == 2:
        cells = _date_at(*(sheet.frame[name] for name in columns))
    else:
        raise UsageError(
            f"data.time_column=[{','.join(columns)}] names {len(columns)} columns; give date and "
            f"time of day, as [date,time], or columns called {', '.join(_PARTS_OF_DATES)}."
        )
    return replace(sheet, frame=sheet.frame.assign(**{label: cells})), label


def time_of_day_beside(sheet: Sheet, column: str) -> str | None:
    """Find a column that has the time of day where a column of dates has none."""
    others = (name for name in sheet.names if name != column)
    return next((name for name in others if _is_time_of_day(name, sheet.frame[name])), None)


def is_time_of_day(cell: str) -> bool:
    """Whether a cell looks like 13:00 or 1 PM."""
    return _TIME_OF_DAY.fullmatch(cell.strip()) is not None


def _named(names: list[str], named: list[str]) -> tuple[str, ...]:
    if named == [NO_TIMES] and NO_TIMES not in names:
        return ()
    if not named:
        raise UsageError(
            f"data.time_column=[] names no column; name one, or {NO_TIMES} for a file without."
        )
    for name in named:
        if name not in names:
            raise unknown_column("data.time_column", name, names)
        if named.count(name) > 1:
            raise UsageError(f"data.time_column names {name!r} twice; name it once.")
    return tuple(named)


def _is_called_as_times_are(name: str) -> bool:
    return _plain(name) in _NAMES_OF_TIMES


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _is_mostly_dates(cells: "pd.Series[Any]") -> bool:
    # Half, not all: one damaged date should be named as such, not hide the whole column.
    if is_numeric_dtype(cells):
        return False
    if is_datetime64_any_dtype(cells):
        return True
    text = sample(cells).map(str)
    n_dates = read_texts(text, [np.arange(len(text))])[0].n_read
    n_numbers = int(pd.to_numeric(text, errors="coerce").notna().sum())
    # Some numbers, as 2020 and 20200101, could be dates too; among numbers they are numbers.
    return n_dates > n_numbers and n_dates * 2 > len(text)


def _is_time_of_day(name: str, cells: "pd.Series[Any]") -> bool:
    if is_numeric_dtype(cells):
        return _plain(name) in _NAMES_OF_HOURS
    first = cells.dropna().head(1)
    return len(first) > 0 and is_time_of_day(str(first.iloc[0]))


def _date_at(dates: "pd.Series[Any]", times_of_day: "pd.Series[Any]") -> "pd.Series[Any]":
    """Date and time of day as one text: an hour as a number is 13:00."""
    days = dates
    if is_datetime64_any_dtype(dates):
        days = dates.dt.strftime("%Y-%m-%d")
    elif is_numeric_dtype(dates):
        days = dates.astype("Int64")
    hours = times_of_day
    if is_numeric_dtype(times_of_day):
        hours = times_of_day.map(_clock, na_action="ignore")
    texts = [column.map(lambda c: str(c).strip(), na_action="ignore") for column in (days, hours)]
    joined: pd.Series[Any] = texts[0].astype(object) + " " + texts[1].astype(object)
    return joined


def _clock(number: float) -> str:
    """13, 1300 and 13.0 are 13:00."""
    hour, minute = divmod(round(number), 100) if number > 24 else divmod(round(number * 60), 60)
    return f"{hour:02}:{minute:02}"


def _assembled(sheet: Sheet, columns: Sequence[str]) -> "pd.Series[Any]":
    """Dates from their parts, of which month and day are 1 where there is none."""
    first = pd.Series(1, index=sheet.frame.index)
    parts = {"month": first, "day": first, **{_plain(name): sheet.frame[name] for name in columns}}
    if "year" not in parts:
        raise UsageError(
            f"data.time_column=[{','.join(columns)}] names no year; add its column, or a date."
        )
    numbers = {name: pd.to_numeric(cells, errors="coerce") for name, cells in parts.items()}
    times: pd.Series[Any] = pd.to_datetime(pd.DataFrame(numbers), errors="coerce")
    return times
