from unittest.mock import patch

import torch
from torch import nn

from benchmarks.bare import BareCells
from benchmarks.cell_clock import CellClock
from benchmarks.shapes import Shape
from benchmarks.variants import Pipeline
from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead


def test_the_clock_runs_in_f_and_b_and_starts_anew_when_read() -> None:
    model = StackModel(nn.Identity(), GRUStack(5, 5, 2), WindowHead(5, (1,)))
    plan = Pipeline(n_micro_batches=1, n_chunks=2).plan(Shape(5, 4, 6, 2))
    try:
        clock = CellClock()
        BareCells(model, plan, LOSSES["mse"]).step(torch.randn(4, 6, 5), torch.randn(4, 1))
        assert clock.take_ms() > 0.0
        assert clock.take_ms() == 0.0
    finally:
        patch.stopall()
