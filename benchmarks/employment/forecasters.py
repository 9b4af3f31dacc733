"""Forecasts of one series from its own past, each made anew at every origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

SEASON = 12
"""Rows of a season: months of a year."""

Values = NDArray[np.float64]
Forecaster = Callable[[Values, int], Values]
"""(all that is known, shape (rows,); rows ahead) -> the forecast, shape (rows ahead,)."""


def naive(known: Values, n_ahead: int) -> Values:
    """Repeat the last value."""
    return np.full(n_ahead, known[-1])


def seasonal_naive(known: Values, n_ahead: int) -> Values:
    """Repeat the last season."""
    return np.resize(known[-SEASON:], n_ahead)


def drift(known: Values, n_ahead: int) -> Values:
    """Continue the straight line from the first to the last value."""
    slope = (known[-1] - known[0]) / (len(known) - 1)
    return known[-1] + slope * np.arange(1, n_ahead + 1)


def theta(known: Values, n_ahead: int) -> Values:
    """Forecast by the Theta method, additive seasons taken out first.

    V. Assimakopoulos and K. Nikolopoulos, The theta model: a decomposition approach to forecasting,
    Int. J. of Forecasting 16, 2000; as in statsmodels.
    """
    # Only this benchmark needs it, and it is large.
    from statsmodels.tsa.forecasting.theta import ThetaModel

    fitted = ThetaModel(known, period=SEASON, method="additive").fit()
    return np.asarray(fitted.forecast(n_ahead))


FORECASTERS: Mapping[str, Forecaster] = {
    "naive": naive,
    "drift": drift,
    "seasonal naive": seasonal_naive,
    "Theta": theta,
}
"""By the name that tables have for it."""
