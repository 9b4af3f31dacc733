"""The error of the naive forecast inside a history, by which MASE scales errors.

The mean of |y(t) - y(t - m)|, with m = data.season_length, or 1 without one (Hyndman and Koehler,
"Another look at measures of forecast accuracy", Int. J. of Forecasting 22, 2006).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def naive_error(history: NDArray[np.float64], season_length: int | None) -> NDArray[np.float64]:
    """Return the mean absolute error of the naive forecast inside a history.

    Args:
        history: of one series, array of shape `(rows, targets)`.
        season_length: rows of a season; None for 1.

    Returns:
        In the units of the history, array of shape `(targets,)`; NaN if that is not longer than a
        season.
    """
    period = season_length or 1
    if len(history) <= period:
        return np.full(history.shape[1], np.nan)
    error: NDArray[np.float64] = np.abs(history[period:] - history[:-period]).mean(axis=0)
    return error
