"""The models that are measured, each with its way of running a training step."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from benchmarks.bare import BareCells
from benchmarks.batch import draw_batch
from benchmarks.cell_clock import CellClock
from benchmarks.engine_subject import EngineSubject
from benchmarks.ragged_subject import RaggedSubject
from benchmarks.rank_variants import EngineVariant
from benchmarks.samples import PipelineStep, Step
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients, timed
from benchmarks.variants import DropIn, Pipeline, RaggedGRU, Variant, WholeGRU
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead, Windows


class Subject(Protocol):
    """Something whose training step can be measured."""

    def step(self) -> Step:
        """Run one training step and say what it took."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


def make_subject(variant: Variant, shape: Shape) -> Subject:
    """Build what a variant measures; the same weights and the same batch for all variants.

    `torch.set_num_threads` sets MKL's count for the whole process, so a process makes one subject.
    """
    torch.manual_seed(0)
    if isinstance(variant, WholeGRU):
        torch.set_num_threads(variant.n_threads)
        return _WholeSubject(shape)
    if isinstance(variant, Pipeline):
        torch.set_num_threads(1)
        return _PipelineSubject(variant, shape)
    if isinstance(variant, RaggedGRU | DropIn):
        return RaggedSubject(variant, shape)
    torch.set_num_threads(1)
    if isinstance(variant, EngineVariant):
        return EngineSubject(variant, shape)
    # What it imports takes a second, which no other worker should wait for.
    from benchmarks.peer_subject import PeerSubject

    return PeerSubject(variant, shape)


class _WholeSubject:
    """Plain PyTorch: one `nn.GRU` and a linear head."""

    def __init__(self, shape: Shape) -> None:
        size = shape.hidden_size
        self._gru = nn.GRU(size, size, shape.num_layers, batch_first=True)
        self._head = nn.Linear(size, 1)
        self._parameters = [*self._gru.parameters(), *self._head.parameters()]
        self._x, self._y = draw_batch(shape)

    def step(self) -> Step:
        wall_ms, cpu_ms = timed(self._train)
        drop_gradients(self._parameters)
        return Step(wall_ms, cpu_ms)

    def _train(self) -> None:
        outputs, _ = self._gru(self._x)
        nn.functional.mse_loss(self._head(outputs[:, -1]), self._y).backward()

    def close(self) -> None:
        """Nothing was started."""


class _PipelineSubject:
    """The threads engine, and the same cells without it."""

    def __init__(self, variant: Pipeline, shape: Shape) -> None:
        size = shape.hidden_size
        stack = GRUStack(size, size, shape.num_layers)
        self._model = StackModel(nn.Identity(), stack, WindowHead(size, (1,)))
        plan = variant.plan(shape)
        self._engine = ThreadEngine(self._model, plan, LOSSES["mse"])
        self._bare = BareCells(self._model, plan, LOSSES["mse"])
        self._cells = CellClock()
        self._x, self._y = draw_batch(shape)

    def step(self) -> Step:
        self._cells.take_ms()
        wall_ms, cpu_ms = timed(self._train)
        cells_cpu_ms = self._cells.take_ms()
        drop_gradients(self._model.parameters())
        _, bare_cpu_ms = timed(self._train_bare)
        timeline = self._engine.timeline
        assert timeline is not None
        cells_ms = {
            event.action: event.duration_ms
            for event in timeline.events
            if event.action.op.is_compute
        }
        return Step(
            wall_ms, cpu_ms, PipelineStep(cells_cpu_ms, bare_cpu_ms, timeline.bubble, cells_ms)
        )

    def _train(self) -> None:
        self._engine.train_step(Windows(self._x, self._y)).backward()

    def _train_bare(self) -> None:
        self._bare.step(self._x, self._y)

    def close(self) -> None:
        self._engine.close()
