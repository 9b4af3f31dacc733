"""What every engine offers, and the simplest one: the whole model in one piece."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from gru_parallel.model import DropoutKey, StackModel, SumLoss


class Engine(Protocol):
    """Runs a model over batches; how and where is the engine's business."""

    def train_step(self, x: Tensor, y: Tensor, *, step: int = 0) -> Tensor:
        """Return the loss of a batch, ready for `backward`."""
        ...

    def predict(self, x: Tensor) -> Tensor:
        """Return predictions for every row of a batch, in order, without gradients."""
        ...


class WholeEngine:
    """Plain training on one device, as without this library: what a pipeline must equal.

    Args:
        model: encoder, blocks and head.
        loss: what `train_step` minimises.
        seed: of the run, for dropout.
    """

    def __init__(self, model: StackModel, loss: SumLoss, *, seed: int = 0) -> None:
        self.model = model
        self.loss = loss
        self.seed = seed

    def train_step(self, x: Tensor, y: Tensor, *, step: int = 0) -> Tensor:
        """Return the loss of a batch: x (batch, time, n_channels), y batch first."""
        prediction = self.model(x, DropoutKey(self.seed, step, 0, 0))
        return self.loss.total(prediction, y) / self.loss.count(y)

    def predict(self, x: Tensor) -> Tensor:
        """Return predictions for x (batch, time, n_channels)."""
        with torch.no_grad():
            prediction: Tensor = self.model(x)
        return prediction
