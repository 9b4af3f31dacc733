"""A small engine whose calls are recorded, and what its tests ask of it."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gru_parallel.engine.pipeline import PipelineEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from tests.builders import build_model, make_batch

N_STEPS = 3
"""One that is not recorded, one that is, and one that is replayed with other weights."""

PLAN = {"schedule": "one_f_one_b", "n_micro_batches": 2, "n_chunks": 2}
SMALL_PLAN = PLAN | {"blocks_of_stages": (1, 1)}
small_model = partial(build_model, 2)

short_batch = partial(make_batch, n_steps=4)
"""Each time step is many operations to record."""


def reason(engine: PipelineEngine) -> str | None:
    """Why the last call was not replayed; None if it was."""
    return engine.why_not_replayed


def n_recorded(engine: PipelineEngine) -> int:
    assert engine._graphs is not None
    return len(engine._graphs._recorded)


def train(engine: ThreadEngine, n_steps: int = N_STEPS, **extras: Any) -> list[Tensor]:
    """Train a few steps with evaluations in between; return all that comes out."""
    found = []
    optimizer = torch.optim.Adam(engine.model.parameters(), 0.01)
    for step in range(n_steps):
        x, y = short_batch(seed=step, every_step=engine.model.head.every_step)
        x, y = x.to(engine.model.encoder.weight), y.to(engine.model.encoder.weight)
        optimizer.zero_grad()
        loss = engine.train_step(Windows(x, y, **extras), step)
        loss.backward()
        nn.utils.clip_grad_norm_(engine.model.parameters(), 0.5)
        found += [loss.detach(), *(p.grad.clone() for p in engine.model.parameters())]
        optimizer.step()
        engine.model.eval()
        with torch.inference_mode():
            found.append(engine.predict(Windows(x, **extras)).clone())
        engine.model.train()
    return found


def assert_same(left: list[Tensor], right: list[Tensor]) -> None:
    assert len(left) == len(right)
    assert all(map(torch.equal, left, right))
