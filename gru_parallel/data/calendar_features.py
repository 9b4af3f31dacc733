"""What the date of a row says of it, known ahead of all rows: data.calendar."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.errors import UsageError

_LAST = {
    "minute": 59,
    "hour": 23,
    "dayofweek": 6,
    "day": 30,
    "dayofyear": 365,
    "week": 52,
    "month": 11,
    "quarter": 3,
    "is_weekend": 1,
}
"""The largest that each can be, counted from 0."""

_IN_PANDAS = {
    "minute": "minute",
    "hour": "hour",
    "dayofweek": "day_of_week",
    "day": "day",
    "dayofyear": "day_of_year",
    "month": "month",
    "quarter": "quarter",
}


def calendar_features(times: NDArray[Any], names: Sequence[str]) -> NDArray[np.float64]:
    """Compute features by their names.

    They are scaled by what they can be, not by what a series has of them: from -0.5 for the first
    minute, hour, day or month to 0.5 for the last, as in GluonTS (A. Alexandrov et al., JMLR
    21(116), 2020; `gluonts/time_feature/_base.py`).

    Args:
        times: of datetime64, shape `(rows,)`.
        names: of `choices.CALENDAR`.

    Returns:
        Array of shape `(rows, features)`.
    """
    features = np.empty((len(times), len(names)))
    for position, name in enumerate(names):
        features[:, position] = _counted(times, name) / _LAST[name] - 0.5
    return features


def check_calendar(names: Sequence[str], times: NDArray[Any] | None, where: str) -> None:
    """Raise a UsageError if there are features to compute, and a series has no dates.

    Args:
        names: of the features.
        times: of the series.
        where: begins the message, as "data.path=a.csv: ", or is empty.
    """
    if not names or (times is not None and np.issubdtype(times.dtype, np.datetime64)):
        return
    has = "no times" if times is None else "numbers for times"
    raise UsageError(
        f"{where}data.calendar=[{','.join(names)}] is read from dates, and the series has {has};"
        " use data with dates (of a file, data.time_column names their column), or leave"
        " data.calendar out."
    )


def _counted(times: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return a feature as a whole number from 0 to `_LAST`."""
    # Not at the top: a series that is generated can do without pandas.
    import pandas as pd

    index = pd.DatetimeIndex(times)
    if name == "is_weekend":
        return np.asarray(index.day_of_week >= 5, dtype=np.float64)
    # As in ISO 8601, a week is of the year that its Thursday is in.
    counted = index.isocalendar().week if name == "week" else getattr(index, _IN_PANDAS[name])
    first = 0 if name in ("minute", "hour", "dayofweek") else 1
    return np.asarray(counted, dtype=np.float64) - first
