"""Plain PyTorch as it is measured: one `nn.GRU` and a linear head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.shapes import Shape
from benchmarks.trained_subject import TrainedSubject
from benchmarks.variants import WholeGRU


class WholeSubject(TrainedSubject):
    """One `nn.GRU` and a linear head."""

    def __init__(self, variant: WholeGRU, shape: Shape) -> None:
        torch.set_num_threads(variant.n_threads)
        size = shape.hidden_size
        self._gru = nn.GRU(size, size, shape.num_layers, batch_first=True)
        self._head = nn.Linear(size, 1)
        super().__init__(shape, [*self._gru.parameters(), *self._head.parameters()])

    def train(self) -> Tensor:
        outputs, _ = self._gru(self._x)
        loss = nn.functional.mse_loss(self._head(outputs[:, -1]), self._y)
        loss.backward()
        return loss.detach()
