"""A forecast of one value, beside what came."""

from typing import NamedTuple


class Forecast(NamedTuple):
    """One forecast value; its names, but for the last, are columns of forecasts.csv.

    Attributes:
        unique_id: name of the series.
        ds: the time that is forecast, or if there are no times, the row within its series.
        cutoff: the time, or the row, of the last value that was known.
        target: the column that is forecast; empty where there is only one.
        y_hat: the forecast, in the units of the series.
        y: the value that came.
        quantiles: level and value of each quantile, in the units of the series, by level; each is a
            column, see `quantile_column`.
    """

    unique_id: str
    ds: str
    cutoff: str
    target: str
    y_hat: float
    y: float
    quantiles: tuple[tuple[float, float], ...] = ()


def quantile_column(level: float) -> str:
    """Return the name of the column of a quantile, like y_hat_0.1."""
    return f"y_hat_{level}"
