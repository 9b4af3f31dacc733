"""The threads engine as `speed` measures it, and the same cells without it."""

from __future__ import annotations

from benchmarks.bare import BareCells
from benchmarks.batch import draw_batch
from benchmarks.cell_clock import CellClock
from benchmarks.model import make_model
from benchmarks.samples import PipelineStep, Step
from benchmarks.shapes import Shape
from benchmarks.stopwatch import drop_gradients, timed
from benchmarks.variants import Pipeline
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, Windows


class PipelineSubject:
    """The threads engine, and the same cells without it."""

    def __init__(self, variant: Pipeline, shape: Shape) -> None:
        self._model = make_model(shape)
        plan = variant.plan(shape)
        self._engine = ThreadEngine(self._model, plan, LOSSES["mse"])
        self._bare = BareCells(self._model, plan, LOSSES["mse"])
        self._cells = CellClock()
        self._x, self._y = draw_batch(shape)

    def step(self) -> Step:
        """Run one training step, then its bare cells, and say what both took."""
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
        """End the engine's threads."""
        self._engine.close()
