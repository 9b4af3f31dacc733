"""A resumed run draws the random numbers that the uninterrupted one draws."""

import random
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from gru_parallel.training.random_state import RandomState
from tests.builders import make_plan
from tests.runs import SaveAfter, fit

PLAN = make_plan([2, 2], n_chunks=2)


class Draw(pl.Callback):
    """Draws from every global generator in each batch."""

    def __init__(self) -> None:
        self.drawn: list[tuple[float, float, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        self.drawn.append((random.random(), float(np.random.normal()), float(torch.rand(1))))


def test_a_resumed_run_draws_on_from_all_generators(tmp_path: Path) -> None:
    straight, resumed = Draw(), Draw()
    path = tmp_path / "middle.ckpt"
    fit(PLAN, callbacks=[straight, RandomState(), SaveAfter(3, path)])
    torch.manual_seed(99)

    fit(PLAN, callbacks=[resumed, RandomState()], ckpt_path=path)

    assert len(straight.drawn) == 10
    assert resumed.drawn == straight.drawn[3:]
