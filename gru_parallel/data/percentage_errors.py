"""The absolute percentage error of each value of a series, of which MAPE is the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.backtest_errors import OfValues


def percentage_errors(came: NDArray[np.float64], forecast: NDArray[np.floating]) -> OfValues:
    """Return |y - f| / |y| of each value, as a share; a y of 0 does not count.

    Args:
        came: in the units of the series, array of shape `(windows, steps, targets)`.
        forecast: array of the same shape.
    """
    is_zero = came == 0
    return np.abs(forecast - came) / np.where(is_zero, np.inf, np.abs(came)), ~is_zero
