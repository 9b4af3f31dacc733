"""Reads the column of times, and checks that they ascend."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.local_times import (
    Days,
    ReadCells,
    are_at_one_time_of_day,
    are_of_several_moments,
    form_without_zone,
    have_zone,
    without_zone,
)
from gru_parallel.data.number_text import as_floats
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.time_columns import NO_TIMES, time_of_day_beside
from gru_parallel.data.time_formats import (
    format_of,
    read_in,
    read_texts,
    read_whole_numbers,
    sample,
)
from gru_parallel.errors import UsageError

Beginning = tuple[Sheet, Sequence[NDArray[np.intp]]]
"""The first rows of a file, with the positions of the rows of each series."""

_HOUR = np.timedelta64(1, "h")
_N_COMPARED = 100
"""Number of cells among which one in another format is looked for; usually the first is."""
_N_FIRST = 1000
"""Number of rows that usually show already that there are several a day."""


def read_times(
    sheet: Sheet, column: str, series: Sequence[NDArray[np.intp]] | None = None
) -> NDArray[Any]:
    """Read the times of all rows.

    Args:
        sheet: the file's cells.
        column: the time column, of dates or of numbers.
        series: positions of the rows of each series, in which the times should ascend; None where
            there is only one series.

    Returns:
        Array of shape `(rows,)`: of datetime64, or of float64 where the column holds numbers that
        are not dates; NaT or NaN where a cell is not a time. Where the file names a time zone they
        are in UTC, or if all rows have one time of day there, as the clocks of the zone show them.

    Raises:
        UsageError: there are two ways to read the dates, and nothing tells which is right, or some
            name their time zone and others do not.
    """
    return TimesOfPieces(column).read(sheet, series)


class TimesOfPieces:
    """Reads the times of a file piece by piece, all in one format.

    It is that of the first piece or, where this could be in several, the one that more of the file
    tells. Numbers are dates if those of the first piece are, and rows are days if the first ones
    are, of two moments or more.

    Args:
        column: the time column.
        longer: returns beginnings of the file, each longer than the one before, the last the whole.
    """

    def __init__(self, column: str, longer: Callable[[], Iterable[Beginning]] = tuple) -> None:
        self._column = column
        self._longer = longer
        self._reader: ReadCells | None = None
        self._days: Days | None = None
        self._is_date: bool | None = None

    def read(self, sheet: Sheet, series: Sequence[NDArray[np.intp]] | None = None) -> NDArray[Any]:
        """Read the times of the next piece; see `read_times`.

        Raises:
            UsageError: the dates of the file can be read in two ways, the piece has numbers where
                those before have dates, or several times of day where those before have one.
        """
        times = self._read(sheet, series)
        is_date = np.issubdtype(times.dtype, np.datetime64)
        if self._is_date not in (None, is_date):
            raise sheet.error(
                f"row {sheet.row(0)}, column {self._column!r} holds "
                f"{str(sheet.frame[self._column].iloc[0])!r}, which is not of the kind of the"
                " times in the rows before; write all of them in one format."
            )
        self._is_date = is_date
        return times

    def _read(self, sheet: Sheet, series: Sequence[NDArray[np.intp]] | None) -> NDArray[Any]:
        if self._days is not None:
            return self._days.read(sheet, self._column)
        cells = sheet.frame[self._column]
        if self._reader is not None:
            return self._reader(cells)
        if is_datetime64_any_dtype(cells):
            if cells.dt.tz is None:
                self._reader = _on_the_clock
                return self._reader(cells)
            return self._choose_zone(cells, _in_utc(cells), _on_the_clock, _in_utc)
        if is_numeric_dtype(cells) or _are_mostly_numbers(sample(cells), sheet.csv_format):
            numbers = as_floats(cells, sheet.csv_format)
            # The last rows of a counter may look like dates: 196608 could be a month.
            dates = None if self._is_date is False else read_whole_numbers(numbers)
            return numbers if dates is None else dates
        return self._read_first_texts(sheet, series)

    def _read_first_texts(
        self, sheet: Sheet, series: Sequence[NDArray[np.intp]] | None
    ) -> NDArray[Any]:
        """Find the format of the file, and read its first piece."""
        cells = sheet.frame[self._column]
        text = _texts(cells)
        has_zone = _check_zones(sheet, self._column, text)
        best, others = read_texts(text, [np.arange(len(text))] if series is None else series)
        first = best
        for longer, of_series in self._longer() if others else ():
            best, others = read_texts(_texts(longer.frame[self._column]), of_series)
            if not others:
                break
        for other in others:
            if not np.array_equal(other.times, best.times, equal_nan=True):
                raise sheet.error(
                    f"column {self._column!r} can be read in two ways, as {best.form} and as"
                    f" {other.form} (row {sheet.row(0)} holds {cells.iloc[0]!r}); write dates as"
                    f" 2020-01-31, or set data.time_column={NO_TIMES} to go without."
                )
        times = first.times if best.form == first.form else read_in(text, best.form).times
        in_form = partial(_read_texts, form=best.form)
        if not has_zone:
            self._reader = in_form
            return times
        on_the_clock = partial(_texts_on_the_clock, form=form_without_zone(best.form))
        return self._choose_zone(cells, times, on_the_clock, in_form)

    def _choose_zone(
        self,
        cells: "pd.Series[Any]",
        times_in_utc: NDArray[Any],
        on_the_clock: ReadCells,
        in_utc: ReadCells,
    ) -> NDArray[Any]:
        """Choose by whether the file begins with days; return the times of its first piece."""
        times = self._times_of_days(cells, on_the_clock)
        if times is None:
            self._reader = in_utc
            return times_in_utc
        self._days = Days(on_the_clock, in_utc, times, times_in_utc)
        return times

    def _times_of_days(
        self, cells: "pd.Series[Any]", on_the_clock: ReadCells
    ) -> NDArray[Any] | None:
        """Return the times on the clock where the file begins with days, of which these are."""
        if not are_at_one_time_of_day(on_the_clock(cells.head(_N_FIRST))):
            return None
        times = on_the_clock(cells)
        # One moment alone does not tell a day from an hour.
        more = (on_the_clock(longer.frame[self._column]) for longer, _ in self._longer())
        for beginning in chain([times], more):
            if not are_at_one_time_of_day(beginning):
                return None
            if are_of_several_moments(beginning):
                break
        return times


def check_times(sheet: Sheet, column: str, times: NDArray[Any]) -> None:
    """Check that the times of a series ascend from each row to the next.

    Args:
        sheet: the cells of one series.
        column: the time column.
        times: its times, array of shape `(rows,)`, see `read_times`.

    Raises:
        UsageError: a row has no time, is earlier than the row before, or repeats its time.
    """
    bad = np.flatnonzero(pd.isna(times))
    if len(bad):
        first = int(bad[0])
        raise sheet.error(
            f"row {sheet.row(first)}, column {column!r} {_no_time(sheet, column, first)}; correct "
            f"it, or name another column, or {NO_TIMES}, with data.time_column."
        )
    for before in np.flatnonzero(times[1:] <= times[:-1])[:1]:
        raise _not_ascending(sheet, column, int(before), times)


def _texts(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    return cells.map(str, na_action="ignore")


def _in_utc(cells: "pd.Series[Any]") -> NDArray[Any]:
    return _on_the_clock(pd.to_datetime(cells, utc=True))


def _on_the_clock(cells: "pd.Series[Any]") -> NDArray[Any]:
    return np.asarray(cells.dt.tz_localize(None).to_numpy())


def _read_texts(cells: "pd.Series[Any]", form: str) -> NDArray[Any]:
    return read_in(_texts(cells), form).times


def _texts_on_the_clock(cells: "pd.Series[Any]", form: str) -> NDArray[Any]:
    # Series side by side have each time many times.
    codes, unique = pd.factorize(_texts(cells))
    times = read_in(without_zone(pd.Series(unique, dtype=object)), form).times
    return np.append(times, np.datetime64("NaT"))[codes]


def _check_zones(sheet: Sheet, column: str, text: "pd.Series[Any]") -> bool:
    """Return whether times of day name their zone.

    Raises:
        UsageError: some do, and others do not.
    """
    # A date alone is midnight, in whatever zone.
    has_clock = text.str.contains(":", regex=False, na=False).to_numpy(dtype=bool)
    has_zone = have_zone(text)
    named, bare = np.flatnonzero(has_zone)[:1], np.flatnonzero(has_clock & ~has_zone)[:1]
    if len(named) and len(bare):
        one, other = int(named[0]), int(bare[0])
        raise sheet.error(
            f"row {sheet.row(one)}, column {column!r} holds {text.iloc[one]!r}, with a time zone,"
            f" and row {sheet.row(other)} {text.iloc[other]!r}, without; write all times with their"
            " zones, or none."
        )
    return len(named) > 0


def _no_time(sheet: Sheet, column: str, position: int) -> str:
    """Tell what is wrong with a cell that was not read."""
    cells = sheet.frame[column]
    cell = cells.iloc[position]
    if pd.isna(cell):
        return "is empty"
    form = format_of(str(cell))
    others = np.flatnonzero(cells.notna())[:_N_COMPARED]
    other = next(
        (int(o) for o in others if format_of(str(cells.iloc[o])) not in (None, form)), None
    )
    if form is None or other is None or is_numeric_dtype(cells):
        return f"holds {str(cell)!r}, which is not a time"
    return (
        f"holds {str(cell)!r}, which is in another format than {str(cells.iloc[other])!r} in row "
        f"{sheet.row(other)}"
    )


def _not_ascending(sheet: Sheet, column: str, before: int, times: NDArray[Any]) -> UsageError:
    """An error about the row after the one at the position `before`, ready to be raised."""
    after = before + 1
    earlier, later = sheet.frame[column].iloc[before], sheet.frame[column].iloc[after]
    row, row_before = sheet.row(after), sheet.row(before)
    if times[after] == times[before]:
        problem = f"row {row} repeats the time of row {row_before}, {column}={later}"
        remedies = ["keep one of them"]
        beside = time_of_day_beside(sheet, column)
        if beside is not None:
            # The name of joined columns consists of theirs, with blanks between.
            parts = column.split(" ") if set(column.split(" ")) <= set(sheet.names) else [column]
            columns = ",".join([*parts, beside])
            remedies = [f"set data.time_column=[{columns}] if these are date and time"]
    else:
        problem = (
            f"row {row} ({column}={later}) is earlier than row {row_before} ({column}={earlier})"
        )
        remedies = [f"sort the file by {column!r}"]
    if _is_clock_set_back(before, times):
        # To sort the rows would mix up the two hours; to drop some would lose one of them.
        remedies = ["write times in UTC, or with their offsets, if clocks were set back there"]
    if not sheet.series:
        remedies.append("tell series apart by a column with data.series_column")
    if is_numeric_dtype(times):
        remedies.append(f"set data.time_column={NO_TIMES} if {column!r} holds no times")
    return sheet.error(f"{problem}; {_either(remedies)}.")


def _is_clock_set_back(before: int, times: NDArray[Any]) -> bool:
    """Whether the step after the position `before` is an hour too short."""
    if before == 0 or is_numeric_dtype(times):
        return False
    step = times[before] - times[before - 1]
    is_step = np.timedelta64(0) < step <= _HOUR
    return bool(is_step and times[before + 1] - times[before] == step - _HOUR)


def _either(remedies: Sequence[str]) -> str:
    *others, last = remedies
    return f"{', '.join(others)}, or {last}" if others else last


def _are_mostly_numbers(cells: "pd.Series[Any]", csv_format: CsvFormat) -> bool:
    # 2020 and 20200101 could be dates, too; among other numbers they are numbers.
    return int(np.isfinite(as_floats(cells, csv_format)).sum()) * 2 > len(cells)
