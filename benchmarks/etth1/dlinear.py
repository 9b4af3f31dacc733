"""DLinear: a linear map of a window, for its trend and for the rest; no GRU.

A. Zeng, M. Chen, L. Zhang and Q. Xu, Are Transformers Effective for Time Series Forecasting?, AAAI
2023.
"""

from __future__ import annotations

from typing import Self

from torch import Tensor, nn
from torch.nn import functional

from gru_parallel.model import PointOutput, Start, Windows

KERNEL = 25
"""Rows of the moving average, as in the paper."""


class DLinear(nn.Module):
    """What `SeriesModule` trains in the place of a `StackModel`: it offers what that asks for.

    Each column is forecast by itself, with the same two maps.

    Args:
        input_length: rows of a window.
        horizon: rows that are forecast.
    """

    every_step = False
    carries = False
    encoder = None
    output = PointOutput()

    def __init__(self, input_length: int, horizon: int) -> None:
        super().__init__()
        self.trend = nn.Linear(input_length, horizon)
        self.rest = nn.Linear(input_length, horizon)

    @property
    def head(self) -> Self:
        """Says that there is one forecast for each window."""
        return self

    @property
    def gru(self) -> Self:
        """Says that no state is carried."""
        return self

    def rows_of(self, windows: Windows) -> Windows:
        """Return windows as they are."""
        return windows

    def predictions_of(self, predictions: Tensor) -> Tensor:
        """Return predictions as they are."""
        return predictions

    def run(
        self,
        x: Tensor,
        key: object = None,
        lengths: Tensor | None = None,
        start: Start | None = None,
        scale: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Forecast; see `StackModel.run`.

        Args:
            x: windows, shape (batch, input_length, columns).
            key: of no use, as what follows.
            lengths: None.
            start: whatever.
            scale: None.

        Returns:
            Forecasts, shape (batch, horizon, columns), and states that are not there.
        """
        assert lengths is None
        assert scale is None
        columns = x.transpose(1, 2)
        trend = moving_average(columns)
        forecast = self.trend(trend) + self.rest(columns - trend)
        return forecast.transpose(1, 2).contiguous(), x.new_zeros(0, len(x), 0)


def moving_average(columns: Tensor) -> Tensor:
    """Average the rows around each row, of which the first and the last are repeated at the ends.

    Args:
        columns: shape (batch, columns, rows).
    """
    half = KERNEL // 2
    padded = functional.pad(columns, (half, half), mode="replicate")
    return functional.avg_pool1d(padded, KERNEL, stride=1)
