"""Times the training steps of a run, and keeps the timeline of a typical one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, median_low
from time import perf_counter
from typing import Any

import lightning.pytorch as pl

from gru_parallel.engine.peak_memory import forget_peaks, peak_bytes
from gru_parallel.schedule import Timeline
from gru_parallel.training.strategy import PipelineStrategy, engine_of, n_rows_of


@dataclass(frozen=True)
class TimedStep:
    """A training step whose timeline was kept.

    Attributes:
        number: of the step, as in metrics.csv.
        step_ms: how long it took, its optimiser step included.
        timeline: what its stages did when.
    """

    number: int
    step_ms: float
    timeline: Timeline


@dataclass(frozen=True)
class _CountedStep:
    """What is known of every step that counts.

    Attributes:
        step_ms: how long it took.
        samples_per_s: windows trained on per second.
        is_measured: whether it was timed action by action.
    """

    step_ms: float
    samples_per_s: float
    is_measured: bool


class StepClock(pl.Callback):
    """Times training steps, shows samples/s, and keeps the timeline of a typical step.

    A step is the batch after which the optimiser steps, as in a plan; windows per second are those
    of all batches from the optimiser's step before on.

    The steps whose timelines are kept are spread evenly over the run: at first every step, later
    every second, every fourth, and so on; on accelerators every second one from the start. There, a
    step that is timed action by action waits for each, so medians are those of the other steps. The
    first steps of a run count only if there are no others.

    Args:
        n_warm_up: batches at the start that do not count.
        most_kept: largest number of timelines kept at once, even.

    Attributes:
        peak_bytes: by stage, the most memory that it had allocated after the steps that do not
            count, once the training has ended; see `engine.peak_memory`. Of a run over ranks that
            is interrupted they stay unknown.
    """

    def __init__(self, n_warm_up: int = 3, most_kept: int = 40) -> None:
        self._n_warm_up = n_warm_up
        self._most_kept = most_kept
        self._n_seen = 0
        self._stride = 1
        self._on_accelerators = False
        self._steps: list[_CountedStep] = []
        self._seconds, self._n_samples = 0.0, 0
        self._kept: list[TimedStep] = []
        self.peak_bytes: dict[int, int] = {}

    @property
    def n_steps(self) -> int:
        """Number of steps that medians are of."""
        return len(self._typical_steps)

    @property
    def step_ms(self) -> float | None:
        """Median time of a training step, its optimiser step included; None before the first."""
        steps = self._typical_steps
        return median(step.step_ms for step in steps) if steps else None

    @property
    def samples_per_s(self) -> float | None:
        """Median of the windows trained on per second; None before the first step."""
        steps = self._typical_steps
        return median(step.samples_per_s for step in steps) if steps else None

    @property
    def typical(self) -> TimedStep | None:
        """The median step among those kept; None before the first, and without a pipeline."""
        if not self._kept:
            return None
        wanted = median_low(step.step_ms for step in self._kept)
        return next(step for step in self._kept if step.step_ms == wanted)

    @property
    def is_warm(self) -> bool:
        """Whether the steps that count come after the first ones, which take longer."""
        return self._n_seen > self._n_warm_up

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock."""
        engine = engine_of(trainer)
        if self._n_seen == 0 and engine is not None:
            # By the plan: all ranks have to measure the same steps.
            names = engine.plan.all_devices
            self._on_accelerators = not all(name.startswith("cpu") for name in names)
            self._stride = 2 if self._on_accelerators else 1
        if self._n_seen == self._n_warm_up:
            # The first steps count only if there are no others.
            self._steps, self._kept = [], []
            self._seconds, self._n_samples = 0.0, 0
            if engine is not None:
                forget_peaks(engine.stages)
        self._keeps = len(self._steps) % self._stride == 0
        if engine is not None:
            engine.measure = self._keeps
        self._number = trainer.global_step + 1
        self._start = perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop the clock."""
        seconds = perf_counter() - self._start
        n_samples = n_rows_of(trainer, batch)
        pl_module.log("samples/s", n_samples / seconds, prog_bar=True, batch_size=n_samples)
        self._n_seen += 1
        self._seconds += seconds
        self._n_samples += n_samples
        engine = engine_of(trainer)
        is_measured = engine is not None and engine.measure
        if engine is not None:
            engine.measure = False
        if trainer.global_step < self._number:
            # The next batch is accumulated first.
            return
        per_s = self._n_samples / self._seconds
        self._steps.append(_CountedStep(seconds * 1e3, per_s, is_measured))
        self._seconds, self._n_samples = 0.0, 0
        if engine is not None and self._keeps and engine.timeline is not None:
            self._keep(TimedStep(self._number, seconds * 1e3, engine.timeline))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look what the peak of memory was, on all ranks."""
        strategy, engine = trainer.strategy, engine_of(trainer)
        if engine is None:
            return
        assert isinstance(strategy, PipelineStrategy)
        what = "the peaks of memory of all ranks"
        self._take(strategy.gather_objects(peak_bytes(engine.stages), what))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Look what the peak was, where no other ranks would have to be there for it."""
        strategy, engine = trainer.strategy, engine_of(trainer)
        if engine is None or not self._n_seen or self.peak_bytes:
            return
        assert isinstance(strategy, PipelineStrategy)
        if not strategy.is_one_of_many:
            self._take([peak_bytes(engine.stages)])

    def _take(self, of_ranks: Sequence[dict[int, int]]) -> None:
        """Take the peaks that ranks found."""
        for of_rank in of_ranks:
            # The replicas of a stage need as much; with fewer rows, one needs less.
            for stage, n_bytes in of_rank.items():
                self.peak_bytes[stage] = max(n_bytes, self.peak_bytes.get(stage, 0))

    @property
    def _typical_steps(self) -> list[_CountedStep]:
        """The steps that count: on accelerators those not timed action by action, if any."""
        free = [step for step in self._steps if not step.is_measured]
        return free if self._on_accelerators and free else self._steps

    def _keep(self, step: TimedStep) -> None:
        if len(self._kept) == self._most_kept:
            self._kept = self._kept[::2]
            self._stride *= 2
            if (len(self._steps) - 1) % self._stride:
                return
        self._kept.append(step)
