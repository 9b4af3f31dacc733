"""What every engine offers, and the simplest one: the whole model in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from gru_parallel.model import DropoutKey, StackModel, Start, SumLoss, Windows
from gru_parallel.model.loss import weighted_total
from gru_parallel.stage.cells import check_windows


class Engine(Protocol):
    """Runs a model over batches; how and where is the engine's business.

    Attributes:
        carried: by use (training or prediction), the h_n of the last batch, where blocks whose
            policy is `carry` start the next, shape (n_states, batch, hidden_size); {} before any.
    """

    carried: dict[str, Tensor]

    def train_step(self, windows: Windows, step: int = 0) -> Tensor:
        """Return the loss of a batch, ready for `backward`.

        Args:
            windows: the batch, with targets.
            step: number of batches trained on before, for dropout.
        """
        ...

    def predict(self, windows: Windows) -> Tensor:
        """Return predictions for every row of a batch, in order, without gradients."""
        ...

    def collect(self, predictions: Tensor) -> Tensor:
        """Return what `predict` gave out in every process: every row, in order, in each of them."""
        ...

    def clip_grad_norm(self, weights: Sequence[Tensor], max_norm: float) -> None:
        """Scale the gradients of all weights so that their norm is at most `max_norm`.

        Args:
            weights: those of this process.
            max_norm: the largest norm of all gradients of the model together.
        """
        ...


class WholeEngine:
    """Plain training on one device, as without this library: what a pipeline must equal.

    Args:
        model: encoder, blocks and head.
        loss: what `train_step` minimises.
        seed: of the run, for dropout.

    Attributes:
        carried: see `Engine`.
    """

    def __init__(self, model: StackModel, loss: SumLoss, *, seed: int = 0) -> None:
        self.model = model
        self.loss = loss
        self.seed = seed
        self.carried: dict[str, Tensor] = {}

    def train_step(self, windows: Windows, step: int = 0) -> Tensor:
        """Return the loss of a batch; see `Engine`."""
        windows = self.model.rows_of(windows)
        y, lengths, weight = windows.y, windows.lengths, windows.weight
        if y is None:
            raise ValueError("train_step needs targets.")
        prediction = self._run(windows, "training", DropoutKey(self.seed, step, 0, 0))
        if lengths is not None and self.model.head.every_step:
            runs = steps_that_run(lengths, y.shape[1]).to(y.device)
            prediction, y = prediction[runs], y[runs]
            weight = None if weight is None else weight[runs]
        return weighted_total(self.loss, prediction, y, weight) / (self.loss.count(y) or 1)

    def predict(self, windows: Windows) -> Tensor:
        """Return the predictions for a batch; see `Engine`."""
        with torch.no_grad():
            predictions = self._run(self.model.rows_of(windows), "prediction", None)
            return self.model.predictions_of(predictions)

    def collect(self, predictions: Tensor) -> Tensor:
        """Return the predictions, which are here already; see `Engine`."""
        return predictions

    def clip_grad_norm(self, weights: Sequence[Tensor], max_norm: float) -> None:
        """Clip as plain PyTorch does; see `Engine`."""
        nn.utils.clip_grad_norm_(weights, max_norm)

    def _run(self, windows: Windows, use: str, key: DropoutKey | None) -> Tensor:
        check_windows(windows, self.model, training=use == "training")
        start = Start(windows.h_0, self.carried.get(use), windows.reset)
        x, lengths, scale = windows.x, windows.lengths, windows.scale
        prediction, h_n = self.model.run(x, key, lengths, start, scale)
        if self.model.gru.carries:
            self.carried[use] = h_n.detach()
        return prediction


def steps_that_run(lengths: Tensor, n_steps: int) -> Tensor:
    """Mark the steps that each row has.

    Args:
        lengths: shape (batch,).
        n_steps: time steps of the batch.

    Returns:
        Shape (batch, n_steps), of bools.
    """
    return torch.arange(n_steps, device=lengths.device) < lengths.unsqueeze(1)
