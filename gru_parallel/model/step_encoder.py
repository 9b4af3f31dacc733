"""StepEncoder: encodes steps by their values, and by the channel and the place that they have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gru_parallel.model.window_view import DIGITS, numbers_of


class StepEncoder(nn.Module):
    """Encodes what a `WindowView` makes of windows, each step of each row alone.

    With `n_decoding`, the steps of a window are `linear` of their values, and those after it, which
    have none, are what is learned of their place and of the channel, one after the other in the
    features. That is SegRNN: S. Lin et al., SegRNN: Segment Recurrent Neural Network for Long-Term
    Time Series Forecasting, 2023, arXiv:2308.11200. Without, what is learned of the channel is
    added to each step. What is known of the steps after a window, `is_known_ahead`, goes through
    `linear`, too, beside zeros for the values, and is added to what is learned.

    Args:
        n_values: values of a step.
        output_size: features that it becomes.
        n_channels: channels that are told apart; None for none.
        n_decoding: steps after the window.
        has_relu: whether what is linear of the values is cut off at zero.
        is_known_ahead: whether some of the values are known after the window, too.

    Attributes:
        channels: what is learned of each channel; None without `n_channels`.
        places: what is learned of each step after the window; None without `n_decoding`.
    """

    stepwise = True

    def __init__(
        self,
        n_values: int,
        output_size: int,
        *,
        n_channels: int | None = None,
        n_decoding: int = 0,
        has_relu: bool = True,
        is_known_ahead: bool = False,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(n_values, output_size)
        self.has_relu = has_relu
        self.is_known_ahead = is_known_ahead
        self.channels: nn.Embedding | None = None
        self.places: nn.Embedding | None = None
        of_channel = output_size // 2 if n_decoding > 0 else output_size
        if n_channels is not None:
            self.channels = nn.Embedding(n_channels, of_channel)
        if n_decoding > 0:
            of_place = output_size if n_channels is None else output_size - of_channel
            self.places = nn.Embedding(n_decoding, of_place)
        elif self.channels is not None:
            # Beside what is linear of the values it begins small.
            nn.init.normal_(self.channels.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Encode some steps of some rows.

        Args:
            x: shape (time, batch, features), features as `WindowView.rows_of` has them.

        Returns:
            Shape (time, batch, output_size).
        """
        columns = [DIGITS for table in (self.channels, self.places) if table is not None]
        values, *numbers = x.split([self.linear.in_features, *columns], dim=-1)
        y: Tensor = self.linear(values)
        if self.has_relu:
            y = y.relu()
        learned: list[Tensor] = []
        if self.channels is not None:
            learned.append(_look_up(self.channels, numbers_of(numbers[0])).to(y.dtype))
        if self.places is None:
            return y + learned[0] if learned else y
        place = numbers_of(numbers[-1])
        of_place = _look_up(self.places, place - 1).to(y.dtype)
        after = torch.cat([of_place, *learned], dim=-1)
        if self.is_known_ahead:
            after = after + y
        return torch.where(place.unsqueeze(-1) > 0, after, y)

    def extra_repr(self) -> str:
        """Say whether there is a relu, and whether something is known after the window."""
        return f"has_relu={self.has_relu}, is_known_ahead={self.is_known_ahead}"


def _look_up(table: nn.Embedding, index: Tensor) -> Tensor:
    # While calls are recorded, there may be anything in the memory of x.
    found: Tensor = table(index.clamp(0, table.num_embeddings - 1))
    return found
