"""Times that name a zone, as the clocks there show them: where every row has one time of day.

A day, a week and a month begin with the clock of a place. In UTC, rows of one a day or less often
are an hour off for half of the year, and midnights belong to the day before. Rows of several times
a day are read in UTC, in which no hour comes twice.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    present = times[~np.isnat(times)]
    since_midnight = present - present.astype("datetime64[D]")
    return bool((since_midnight == since_midnight[:1]).all())
