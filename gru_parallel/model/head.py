"""Heads: from the stack's outputs to predictions, at the end of the window or at every step."""

from __future__ import annotations

from math import prod
from typing import Self

from torch import Tensor, nn


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

    def __init__(self, hidden_size: int, output_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.output_shape = output_shape
        self.linear = nn.Linear(hidden_size, prod(output_shape))

    @classmethod
    def for_forecast(cls, hidden_size: int, horizon: int, n_targets: int) -> Self:
        """Make a head that forecasts each target for `horizon` steps: (horizon, n_targets)."""
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

    def __init__(self, hidden_size: int, n_outputs: int) -> None:
        super().__init__()
        self.output_shape = (n_outputs,)
        self.linear = nn.Linear(hidden_size, n_outputs)

    @classmethod
    def for_forecast(cls, hidden_size: int, horizon: int, n_targets: int) -> Self:
        """Make a head that forecasts each target, at every step `horizon` steps ahead of it."""
        del horizon
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


Head = WindowHead | StepHead

HEADS: dict[str, type[Head]] = {"window": WindowHead, "every_step": StepHead}
"""The heads by the name that the settings and checkpoints have for them."""
