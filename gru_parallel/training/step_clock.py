"""Times the training steps of a run, and keeps the timeline of a typical one."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, median_low
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from gru_parallel.schedule import Timeline
from gru_parallel.training.strategy import engine_of


class StepClock(pl.Callback):
    """Times training steps, shows samples/s, and keeps the timeline of a typical step.

    Args:
        n_warm_up: steps at the start that do not count.
        n_timelines: steps after them whose timelines are kept.
    """

    def __init__(self, n_warm_up: int = 3, n_timelines: int = 20) -> None:
        self._n_warm_up = n_warm_up
        self._n_timelines = n_timelines
        self._n_seen = 0
        self._step_ms: list[float] = []
        self._samples_per_s: list[float] = []
        self._timelines: list[Timeline] = []

    @property
    def step_ms(self) -> float | None:
        """Median time of a training step, its optimiser step included; None before the first."""
        return median(self._step_ms) if self._step_ms else None

    @property
    def samples_per_s(self) -> float | None:
        """Median of the windows trained on per second; None before the first step."""
        return median(self._samples_per_s) if self._samples_per_s else None

    @property
    def timeline(self) -> Timeline | None:
        """The timeline of the median step among those kept; None before the first step."""
        if not self._timelines:
            return None
        wanted = median_low(timeline.step_ms for timeline in self._timelines)
        return next(timeline for timeline in self._timelines if timeline.step_ms == wanted)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock."""
        del pl_module, batch, batch_idx
        engine = engine_of(trainer)
        if engine is not None:
            engine.measure = len(self._timelines) < self._n_timelines
        self._start = perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop the clock."""
        del outputs, batch_idx
        seconds = perf_counter() - self._start
        engine = engine_of(trainer)
        # Other replicas have rows of the batch, too.
        n_samples = len(batch["x"]) if engine is None else engine.n_rows
        pl_module.log("samples/s", n_samples / seconds, prog_bar=True, batch_size=n_samples)
        self._n_seen += 1
        if self._n_seen == self._n_warm_up + 1:
            # The first steps stood in only for the case that no others would come.
            self._step_ms, self._samples_per_s, self._timelines = [], [], []
        self._step_ms.append(seconds * 1e3)
        self._samples_per_s.append(n_samples / seconds)
        if engine is not None and engine.timeline is not None and engine.measure:
            self._timelines.append(engine.timeline)
