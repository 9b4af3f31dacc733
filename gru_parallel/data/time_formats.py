"""Reads a column of times that are all written in one format, and finds that format.

It is the format that reads most cells. Where several read as many (01/02/2020 may begin with the
month or the day), it is the one in which the times ascend in the most even steps.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.steps import n_backward, n_uneven

ISO = "ISO8601"
"""pandas' name for the format 2020-01-31T13:00, of which the end may be left out."""

_DATES = (
    (r"\d{4}([-/. ])\d{1,2}\1\d{1,2}", ("%Y{0}%m{0}%d",)),
    (r"\d{1,2}([-/. ])\d{1,2}\1\d{4}", ("%m{0}%d{0}%Y", "%d{0}%m{0}%Y")),
    (r"\d{1,2}([-/. ])\d{1,2}\1\d{2}", ("%m{0}%d{0}%y", "%d{0}%m{0}%y", "%y{0}%m{0}%d")),
    (r"\d{1,2}([-/. ]?)[a-z]+([-/., ]*)\d{4}", ("%d{0}%b{1}%Y", "%d{0}%B{1}%Y")),
    (r"\d{1,2}([-/. ]?)[a-z]+([-/., ]*)\d{2}", ("%d{0}%b{1}%y", "%d{0}%B{1}%y")),
    (r"[a-z]+([-/. ]*)\d{1,2}(,? +|[-/])\d{4}", ("%b{0}%d{1}%Y", "%B{0}%d{1}%Y")),
    (r"\d{8}", ("%Y%m%d",)),
    (r"\d{4}([-/. ])\d{1,2}", ("%Y{0}%m",)),
    (r"\d{1,2}([-/. ])\d{4}", ("%m{0}%Y",)),
    (r"[a-z]+([-/., ]*)\d{4}", ("%b{0}%Y", "%B{0}%Y")),
    (r"[a-z]+([-/., ]*)\d{2}", ("%b{0}%y", "%B{0}%y")),
)
_TIME = re.compile(
    r"(?P<joint>T|,? +)(?P<hour>\d{1,2})((?P<mark>[:.h])(?P<minute>\d{2}))?"
    r"((?P=mark)(?P<second>\d{2}))?((?P<point>[.,])(?P<fraction>\d+))?"
    r"(?P<blank> *)(?P<half>[ap]m)?(?P<gap> *)(?P<zone>z|utc|gmt|[-+]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_END_OF_DAY = re.compile(
    r"(?<=[T ])24(?=(?:[:.h]00){1,2}(?:[.,]0+)?(?![\d:.,]))", flags=re.IGNORECASE
)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY = re.compile(r"([a-z]+)(,? +)(?=\d|[a-z])", re.IGNORECASE)
_N_SAMPLED = 1000
_WHOLE_NUMBERS = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Formats of dates that are written as one number, by its number of digits."""


@dataclass(frozen=True)
class Reading:
    """A column, read in one format.

    Attributes:
        form: the format, in strptime's notation, or ISO.
        times: array of datetime64 and of shape `(rows,)`, in UTC where the cells name a time zone;
            NaT where a cell is in another format.
    """

    form: str
    times: NDArray[Any]

    @property
    def n_read(self) -> int:
        """Number of cells in this format."""
        return int((~np.isnat(self.times)).sum())


def read_texts(
    text: "pd.Series[Any]", series: Sequence[NDArray[np.intp]]
) -> tuple[Reading, list[Reading]]:
    """Read a column of text.

    Args:
        text: the cells; NaN where one is empty.
        series: positions of the rows of each series, in which the times should ascend.

    Returns:
        The best reading, and those in other formats that are as good, if their times ascend; they
        may come to the same times.
    """
    n_cells = int(text.notna().sum())
    iso = read_in(text, ISO)
    if iso.n_read == n_cells:
        return iso, []
    readings = [iso, *(read_in(text, form) for form in _likely_formats(text))]
    most = max(reading.n_read for reading in readings)
    best = [reading for reading in readings if reading.n_read == most]
    if len(best) == 1 or not most:
        return best[0], []
    oddities = [_oddity(reading.times, series) for reading in best]
    first = min(range(len(best)), key=oddities.__getitem__)
    if oddities[first] >= (1, 0):
        # The times descend in all of them, and that is what the user should hear.
        return best[first], []
    as_good = [r for r, oddity in zip(best, oddities, strict=True) if oddity == oddities[first]]
    return best[first], [reading for reading in as_good if reading is not best[first]]


def read_whole_numbers(numbers: NDArray[np.float64]) -> NDArray[Any] | None:
    """Read numbers such as 202001, 20200131 or 2020013113 as dates.

    Args:
        numbers: array of shape `(rows,)`; NaN where there is none.

    Returns:
        Array of datetime64 and of the same shape; None if some are not such dates.
    """
    present = numbers[np.isfinite(numbers)]
    if not len(present) or (present != np.floor(present)).any() or present.min() < 190001:
        return None
    form = _WHOLE_NUMBERS.get(len(str(int(present.max()))))
    if form is None:
        return None
    text = pd.Series(numbers).map(lambda number: str(int(number)), na_action="ignore")
    times = _parsed(text.astype(object), form)
    is_within = (times >= np.datetime64("1900")) & (times < np.datetime64("2200"))
    return times if int(is_within.sum()) == len(present) else None


def format_of(cell: str) -> str | None:
    """A format that one cell could be written in, or None if it is not a time."""
    text = pd.Series([cell], dtype=object)
    return next((form for form in (ISO, *_formats(text)) if read_in(text, form).n_read), None)


def sample(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """Some of the cells that are not empty, spread over the whole column."""
    filled = cells.dropna()
    return filled.iloc[:: max(len(filled) // _N_SAMPLED, 1)]


def _likely_formats(text: "pd.Series[Any]") -> list[str]:
    """The formats that read most of a sample, so that few are tried on all cells."""
    some = sample(text)
    n_read = {form: read_in(some, form).n_read for form in dict.fromkeys(_formats(text))}
    return [form for form, n in n_read.items() if n == max(n_read.values())]


def _formats(text: "pd.Series[Any]") -> Iterator[str]:
    """The formats that some of the cells could be written in."""
    cells = text.dropna()
    if not len(cells):
        return
    # The longest one, too: spreadsheets write midnight as a mere date, and it may come first.
    longest = cells.iloc[int(cells.str.len().argmax())]
    for cell in dict.fromkeys((cells.iloc[0], cells.iloc[len(cells) // 2], longest)):
        yield from _formats_of(str(cell).strip())


def _formats_of(cell: str) -> Iterator[str]:
    weekday = _WEEKDAY.match(cell)
    if weekday is not None and weekday[1][:3].casefold() in _WEEKDAYS:
        name = "%a" if len(weekday[1]) == 3 else "%A"
        yield from (f"{name}{weekday[2]}{form}" for form in _formats_of(cell[weekday.end() :]))
        return
    for pattern, forms in _DATES:
        date = re.match(pattern, cell, re.IGNORECASE)
        if date is None:
            continue
        time = _format_of_time(cell[date.end() :])
        if time is not None:
            yield from (form.format(*date.groups()) + time for form in forms)


def _format_of_time(rest: str) -> str | None:
    """The format of what follows the date; None if that is not a time of day."""
    if not rest.strip():
        return ""
    time = _TIME.fullmatch(rest.rstrip())
    if time is None:
        return None
    has = {name for name, found in time.groupdict().items() if found}
    if "fraction" in has and "second" not in has:
        return None
    mark = time["mark"] or ""
    pieces = {
        "joint": time["joint"],
        "hour": "%I" if "half" in has else "%H",
        "minute": f"{mark}%M",
        "second": f"{mark}%S",
        "fraction": f"{time['point']}%f",
        "blank": time["blank"],
        "half": "%p",
        "gap": time["gap"],
        # pandas reads offsets from UTC, but of the names of UTC only Z.
        "zone": time["zone"] if (time["zone"] or "").casefold() in ("utc", "gmt") else "%z",
    }
    return "".join(piece for name, piece in pieces.items() if name in has)


def read_in(text: "pd.Series[Any]", form: str) -> Reading:
    """Read a column of text in one format.

    A mere date means midnight, and 24:00 the midnight that ends the day.
    """
    times = _parsed(text, form)
    date, found, _ = form.partition("%H" if "%H" in form else "%I")
    if (found or form == ISO) and np.isnat(times).any():
        is_end = np.isnat(times) & text.str.contains(_END_OF_DAY, na=False).to_numpy(dtype=bool)
        begun = text[is_end].str.replace(_END_OF_DAY, "00", regex=True)
        times = times.copy()
        times[is_end] = _parsed(begun, form) + np.timedelta64(1, "D")
    if found and np.isnat(times).any():
        midnights = _parsed(text, date.rstrip("T, "))
        times = np.where(np.isnat(times), midnights, times)
    return Reading(form, times)


def _parsed(text: "pd.Series[Any]", form: str) -> NDArray[Any]:
    times = pd.to_datetime(text, format=form, errors="coerce", utc=True)
    return np.asarray(times.dt.tz_localize(None).to_numpy())


def _oddity(times: NDArray[Any], series: Sequence[NDArray[np.intp]]) -> tuple[int, int]:
    """How many times are not later than the one before, and how many steps are uneven."""
    by_series = [part[~np.isnat(part)] for part in (times[positions] for positions in series)]
    return sum(map(n_backward, by_series)), sum(map(n_uneven, by_series))
