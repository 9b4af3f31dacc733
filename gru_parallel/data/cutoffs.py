"""Reads cutoffs: the last moments that are known to forecasts."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.local_times import are_at_one_time_of_day
from gru_parallel.errors import UsageError

_YEAR_LAST = re.compile(r"\D*(\d{1,2})([-/. ])(\d{1,2})\2\d{2,4}(?!\d)")
"""The beginning of a date such as 03/05/2025, of which day or month comes first."""


def read_cutoffs(given: Sequence[Any], times: NDArray[Any]) -> NDArray[Any]:
    """Read cutoffs as times of a series.

    Args:
        given: as on the command line: dates, or numbers where times are numbers or there are none
            (then the number of a row in its series, from 0).
        times: of some rows.

    Returns:
        Array of shape `(cutoffs,)`, ascending, each once.

    Raises:
        UsageError: one is of another kind than the times, or see `as_date`.
    """
    is_date = np.issubdtype(times.dtype, np.datetime64)
    read = [
        as_date(each, f"cutoffs=[{each}]", times) if is_date else _as_number(each) for each in given
    ]
    return np.unique(np.array(read, dtype=None if given else times.dtype))


def as_date(given: Any, setting: str, times: NDArray[Any]) -> np.datetime64:
    """Read a date; one with a zone becomes UTC.

    Args:
        given: as on the command line.
        setting: what was written there, for the message.
        times: of rows of the series, array of datetime64.

    Raises:
        UsageError: it is not a date, its day could be its month, or it has a zone and the times one
            time of day, so that they may be those of the clocks of another zone.
    """
    parts = _YEAR_LAST.match(str(given))
    if parts and parts[1] != parts[3] and max(int(parts[1]), int(parts[3])) <= 12:
        raise UsageError(
            f"{setting} can be read in two ways, with the day or the month first; write it as"
            " 2020-01-31 or 2020-01-31T13:00, with the month before the day."
        )
    try:
        # Of "7" or "-1", pandas makes a date of this year.
        if not re.search(r"\d{4}", str(given)):
            raise ValueError(given)
        # 20160701 is read as a number.
        time = pd.Timestamp(str(given))
        if pd.isna(time):
            raise ValueError(given)
    except ValueError as error:
        raise UsageError(
            f"{setting} is not a date, and the times of the series are dates; write it as"
            " 2020-01-31 or 2020-01-31T13:00."
        ) from error
    if time.tzinfo is not None:
        if are_at_one_time_of_day(times):
            raise UsageError(
                f"{setting} names a time zone, and the times of the series, all of one time of"
                " day, may be those of another; write it without a zone, as forecasts.csv does."
            )
        time = time.tz_convert("UTC").tz_localize(None)
    return time.to_datetime64()


def _as_number(given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"cutoffs=[{given}] is not a number, and the times of the series are numbers (the"
            " number of the row, from 0, where there are none); give one."
        ) from error
