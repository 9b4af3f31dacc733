"""Times that name a zone, as the clocks there show them: where every row has one time of day.

A day, a week and a month begin with the clock of a place. In UTC, rows of one a day or less often
are an hour off for half of the year, and midnights belong to the day before. Rows of several times
a day are read in UTC, in which no hour comes twice.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.sheet import Sheet

ReadCells = Callable[["pd.Series[Any]"], NDArray[Any]]
"""Reads cells of a column as times."""

_CLOCK = r":\d\d(?:[.,]\d+)?"
_ZONE = r" *(?:z|utc|gmt|[-+]\d\d(?::?\d\d)?)$"
_CLOCK_AND_ZONE = re.compile(_CLOCK + _ZONE, flags=re.IGNORECASE)
_CLOCK_BEFORE_ZONE = re.compile(f"({_CLOCK}){_ZONE}", flags=re.IGNORECASE)
_ZONE_OF_FORM = re.compile(r" *(?:%z|utc|gmt)$", flags=re.IGNORECASE)


def have_zone(text: "pd.Series[Any]") -> NDArray[np.bool_]:
    """Whether each cell of text names the zone of a time of day, array of shape `(rows,)`."""
    return text.str.contains(_CLOCK_AND_ZONE, na=False).to_numpy(dtype=bool)


def without_zone(text: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return cells of text without their zones."""
    return text.str.replace(_CLOCK_BEFORE_ZONE, r"\1", regex=True)


def form_without_zone(form: str) -> str:
    """Return a format in strptime's notation without the zone at its end."""
    return _ZONE_OF_FORM.sub("", form)


def are_at_one_time_of_day(times: NDArray[Any]) -> bool:
    """Whether all times of an array of datetime64, NaT aside, are at the same time of day."""
    time_of_day = _since_midnight(times[~np.isnat(times)])
    return bool((time_of_day == time_of_day[:1]).all())


def are_of_several_moments(times: NDArray[Any]) -> bool:
    """Whether an array of datetime64 has two different times, NaT aside."""
    present = times[~np.isnat(times)]
    return bool((present != present[:1]).any())


class Days:
    """Reads the pieces of a file that begins with days, as the clocks of their zone show them.

    A row of another time of day shows that they were none. It is refused, unless the rows before
    have the same times in UTC, in which the rest is read then.

    Args:
        on_the_clock: reads cells as the clocks of their zone show them.
        in_utc: reads them in UTC.
        first: times of the first piece on the clock.
        first_in_utc: the same times in UTC.
    """

    def __init__(
        self,
        on_the_clock: ReadCells,
        in_utc: ReadCells,
        first: NDArray[Any],
        first_in_utc: NDArray[Any],
    ) -> None:
        self._on_the_clock = on_the_clock
        self._in_utc = in_utc
        self._time_of_day = _since_midnight(first[~np.isnat(first)])[:1]
        self._is_same = np.array_equal(first, first_in_utc, equal_nan=True)
        self._are_days = True

    def read(self, sheet: Sheet, column: str) -> NDArray[Any]:
        """Read the times of the next piece.

        Raises:
            UsageError: a row shows that those before were no days, and were read as such.
        """
        cells = sheet.frame[column]
        in_utc = self._in_utc(cells)
        if not self._are_days:
            return in_utc
        times = self._on_the_clock(cells)
        is_other = ~np.isnat(times) & (_since_midnight(times) != self._time_of_day)
        if not is_other.any():
            self._is_same = self._is_same and np.array_equal(times, in_utc, equal_nan=True)
            return times
        if self._is_same:
            self._are_days = False
            return in_utc
        row = int(is_other.argmax())
        raise sheet.error(
            f"row {sheet.row(row)}, column {column!r} holds {str(cells.iloc[row])!r}, at another"
            " time of day than all rows before it, which were taken for days; write all times in"
            " UTC, without a zone."
        )


def _since_midnight(times: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(times - times.astype("datetime64[D]"))
