"""Reads cutoffs: the last moments that are known to forecasts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.errors import UsageError


def read_cutoffs(given: Sequence[Any], times: NDArray[Any]) -> NDArray[Any]:
    """Read cutoffs as times of a series.

    Args:
        given: as on the command line: dates, or numbers where times are numbers or there are none
            (then the number of a row in its series, from 0).
        times: of some rows.

    Returns:
        Array of shape `(cutoffs,)`, ascending, each once.

    Raises:
        UsageError: one is of another kind than the times.
    """
    is_date = np.issubdtype(times.dtype, np.datetime64)
    read = _as_date if is_date else _as_number
    return np.unique(np.array([read(each) for each in given], dtype=None if given else times.dtype))


def _as_date(given: Any) -> np.datetime64:
    try:
        # 20160701 is read as a number.
        time = pd.Timestamp(str(given))
        if pd.isna(time):
            raise ValueError(given)
    except ValueError as error:
        raise UsageError(
            f"cutoffs=[{given}] is not a date, and the times of the series are dates; write it as"
            " 2020-01-31 or 2020-01-31T13:00."
        ) from error
    if time.tzinfo is not None:
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
