"""Heads: from the stack's outputs to predictions, at each step, at the window's end or after it."""

from __future__ import annotations

from math import ceil, prod
from typing import Self

from torch import Tensor, nn

from gru_parallel.errors import UsageError
from gru_parallel.model.window_view import check_number


class WindowHead(nn.Module):
    """One prediction per window, from its last step's output: a forecast, or scores of classes.

    A derived class that computes something else sets `stepwise = True` beside its `forward` if that
    reads only the window's last step; a batch may then be cut for it.

    Args:
        hidden_size: features of the stack's outputs.
        output_shape: shape of one window's prediction: (horizon, n_targets) or (n_classes,).
    """

    every_step = False
    stepwise = True
    n_decoding = 0

    def __init__(self, hidden_size: int, output_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.output_shape = output_shape
        self.linear = nn.Linear(hidden_size, prod(output_shape))

    @classmethod
    def for_forecast(
        cls, hidden_size: int, horizon: int, n_targets: int, segment_length: int = 1
    ) -> Self:
        """Make a head that forecasts each target for `horizon` steps: (horizon, n_targets)."""
        del segment_length
        return cls(hidden_size, (horizon, n_targets))

    def forward(self, y: Tensor) -> Tensor:
        """Predict from a chunk that ends the window.

        Args:
            y: outputs, shape (time, batch, hidden_size).

        Returns:
            Predictions, shape `(batch, *output_shape)`.
        """
        scores: Tensor = self.linear(y[-1])
        return scores.reshape(-1, *self.output_shape)


class DecoderHead(nn.Module):
    """The forecast in segments, each from the output of a step of its own after the window.

    The stack runs on over these steps, each of which begins with the state in which the window left
    the layers; see `decoding.py`. What tells them apart is in their input, see `StepEncoder`.

    Args:
        hidden_size: features of the stack's outputs.
        output_shape: shape of one window's forecast, (horizon, n_targets).
        segment_length: rows of a segment; the last one may reach beyond the horizon.

    Raises:
        UsageError: there are more segments than can be numbered.

    Attributes:
        n_decoding: the steps after a window, one for each segment of the forecast.
    """

    every_step = False
    stepwise = True

    def __init__(
        self, hidden_size: int, output_shape: tuple[int, int], segment_length: int = 1
    ) -> None:
        super().__init__()
        horizon, n_targets = output_shape
        self.output_shape = output_shape
        self.segment_length = segment_length
        self.n_decoding = ceil(horizon / segment_length)
        check_number("model.head=decoder", "steps after the window", self.n_decoding)
        self.linear = nn.Linear(hidden_size, segment_length * n_targets)

    @classmethod
    def for_forecast(
        cls, hidden_size: int, horizon: int, n_targets: int, segment_length: int = 1
    ) -> Self:
        """Make a head that forecasts each target for `horizon` steps: (horizon, n_targets)."""
        return cls(hidden_size, (horizon, n_targets), segment_length)

    def forward(self, y: Tensor) -> Tensor:
        """Forecast from a chunk that ends with the steps after the window.

        Args:
            y: outputs, shape (time, batch, hidden_size).

        Returns:
            Forecasts, shape (batch, horizon, n_targets).
        """
        horizon, n_targets = self.output_shape
        segments: Tensor = self.linear(y[-self.n_decoding :])
        n_ahead = self.n_decoding * self.segment_length
        whole = segments.transpose(0, 1).reshape(y.shape[1], n_ahead, n_targets)
        return whole[:, :horizon]


class StepHead(nn.Module):
    """One prediction per step.

    A derived class that computes something else sets `stepwise = True` beside its `forward` if each
    prediction reads only its own row and step; a batch may then be cut for it.

    Args:
        hidden_size: features of the stack's outputs.
        n_outputs: numbers predicted at each step: targets, or the scores of classes.
    """

    every_step = True
    stepwise = True
    n_decoding = 0

    def __init__(self, hidden_size: int, n_outputs: int) -> None:
        super().__init__()
        self.output_shape = (n_outputs,)
        self.linear = nn.Linear(hidden_size, n_outputs)

    @classmethod
    def for_forecast(
        cls, hidden_size: int, horizon: int, n_targets: int, segment_length: int = 1
    ) -> Self:
        """Make a head that forecasts each target, at every step `horizon` steps ahead of it."""
        del horizon, segment_length
        return cls(hidden_size, n_targets)

    def forward(self, y: Tensor) -> Tensor:
        """Predict at every step of a chunk.

        Args:
            y: outputs, shape (time, batch, hidden_size).

        Returns:
            Predictions, shape (batch, time, n_outputs).
        """
        scores: Tensor = self.linear(y)
        return scores.transpose(0, 1)


Head = WindowHead | StepHead | DecoderHead


def scores_of(head: Head, y: Tensor) -> Tensor:
    """Run a head, and check that it keeps to its shape, as a loss may broadcast another.

    Args:
        head: any.
        y: outputs, shape (time, batch, hidden_size).

    Returns:
        Its numbers, shape `(batch, *output_shape)`, with a head for every step
        `(batch, time, *output_shape)`.

    Raises:
        UsageError: they have another shape.
    """
    scores: Tensor = head(y)
    time = y.shape[:1] if head.every_step else ()
    expected = (y.shape[1], *time, *head.output_shape)
    if scores.shape != expected:
        raise UsageError(
            f"The head {type(head).__name__} returned numbers of shape {tuple(scores.shape)}, and"
            f" with output_shape={tuple(head.output_shape)} they have the shape {expected}, batch"
            " first; correct its forward, or its output_shape."
        )
    return scores


HEADS: dict[str, type[Head]] = {
    "window": WindowHead,
    "every_step": StepHead,
    "decoder": DecoderHead,
}
"""The heads by the name that the settings and checkpoints have for them."""
