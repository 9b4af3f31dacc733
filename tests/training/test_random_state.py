"""A resumed run draws the random numbers that the uninterrupted one draws."""

import random
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from gru_parallel.training.random_state import RandomState
from tests.builders import make_plan
from tests.runs import SaveAfter, fit

PLAN = make_plan([2, 2], n_chunks=2)


class Draw(pl.Callback):
    """Draws from every global generator in each call of a hook."""

    def __init__(self, hook: str) -> None:
        self.drawn: list[tuple[float, float, float]] = []
        setattr(self, hook, self._draw)

    def _draw(self, *args: Any) -> None:
        self.drawn.append((random.random(), float(np.random.normal()), float(torch.rand(1))))


@pytest.mark.parametrize(
    ("hook", "n_batches", "n_before"),
    [
        ("on_train_batch_end", 3, 3),
        ("on_train_batch_start", 3, 3),
        ("on_train_epoch_start", 5, 1),
    ],
)
def test_a_resumed_run_draws_on_from_all_generators(
    hook: str, n_batches: int, n_before: int, tmp_path: Path
) -> None:
    straight, resumed = Draw(hook), Draw(hook)
    path = tmp_path / "middle.ckpt"
    fit(PLAN, callbacks=[RandomState(), straight, SaveAfter(n_batches, path)])
    torch.manual_seed(99)

    fit(PLAN, callbacks=[RandomState(), resumed], ckpt_path=path)

    assert len(straight.drawn) in (2, 10)
    assert resumed.drawn == straight.drawn[n_before:]
