"""The times that follow the last row of a series, at the step of its rows."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.steps import steps_of


def following(times: NDArray[Any], n: int, frequency: str | None = None) -> NDArray[Any]:
    """Return the `n` times after the last one.

    Args:
        times: of at least one row, ascending, of datetime64 or of numbers.
        n: how many.
        frequency: the step, as data.frequency writes it; None finds it in the times, of which there
            are at least two then.

    Returns:
        Array of shape `(n,)` and of the type of `times`.
    """
    last = times[-1]
    if np.issubdtype(times.dtype, np.number):
        step = np.median(np.diff(times)) if frequency is None else float(frequency)
        return np.asarray(last + step * np.arange(1, n + 1)).astype(times.dtype)
    offset = _offset(times, frequency)
    first = pd.Timestamp(last) + offset
    found = pd.date_range(first, periods=n, freq=offset).to_numpy()
    return np.asarray(found.astype(times.dtype))


def _offset(times: NDArray[Any], frequency: str | None) -> Any:
    """The step from row to row; of rows that are not evenly spaced, the usual one."""
    name = steps_of(times).frequency if frequency is None else frequency
    if name is not None:
        return pd.tseries.frequencies.to_offset(name)
    index = pd.DatetimeIndex(times)
    months = np.diff(np.asarray(index.year * 12 + index.month))
    if len(set(index.day)) == 1 and len(set(months)) == 1 and months[0] > 0:
        # pandas has no name for the fifteenth of each month.
        return pd.DateOffset(months=int(months[0]))
    return pd.Timedelta(np.median(np.diff(times).astype("timedelta64[ns]").astype(np.int64)))
