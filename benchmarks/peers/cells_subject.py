"""The cells of one stage as `cells` measures them."""

from __future__ import annotations

from torch import Tensor

from benchmarks.bare import BareCells
from benchmarks.model import make_model
from benchmarks.peers.cells_variant import CellsVariant
from benchmarks.shapes import Shape
from benchmarks.trained_subject import TrainedSubject
from gru_parallel.model import LOSSES


class CellsSubject(TrainedSubject):
    """F and B of all layers in the calling thread."""

    def __init__(self, variant: CellsVariant, shape: Shape) -> None:
        model = make_model(shape, variant.core)
        self._cells = BareCells(model, variant.plan(shape), LOSSES["mse"])
        super().__init__(shape, model.parameters())

    def train(self) -> Tensor:
        """See `TrainedSubject`."""
        loss, self.gradients = self._cells.step(self._x, self._y)
        return loss
