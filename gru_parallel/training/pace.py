"""Measures at an interval how fast a run goes: steps, windows, how busy each stage is, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import lightning.pytorch as pl

from gru_parallel.engine.peak_memory import peak_bytes_of_devices
from gru_parallel.training.strategy import PipelineStrategy, engine_of, n_rows_of

N_WARM_UP = 3
"""Batches at the start that do not count, because they take longer."""

_NEARLY = 0.9
"""This much of the interval is enough: steps take now a little more time, now a little less."""


@dataclass(frozen=True)
class Pace:
    """How fast a run went since its pace was measured before.

    Attributes:
        epoch: counted from 0.
        step: of the optimiser, in the whole run.
        steps_per_s: steps of the optimiser, validations and pauses between them included.
        samples_per_s: windows trained on, likewise.
        busy: of each stage, the share of one training step, its optimiser step included, in which
            it ran F, B and W.
        peak_bytes: of each stage, the most memory that its devices held so far: of CUDA devices
            what torch's allocator counts, of CPUs the resident memory of the stage's process,
            which does not tell stages apart.
        n_processes: in which the stages run.
    """

    epoch: int
    step: int
    steps_per_s: float
    samples_per_s: float
    busy: tuple[float, ...]
    peak_bytes: tuple[int, ...]
    n_processes: int

    def by_name(self) -> dict[str, float]:
        """Return the metrics by the names that loggers and metrics.csv have for them."""
        values = (self.steps_per_s, self.samples_per_s, *self.busy, *self.peak_bytes)
        return dict(zip(names_of_metrics(len(self.busy)), values, strict=True))


def names_of_metrics(n_stages: int) -> list[str]:
    """Return the names of the metrics of a run with so many stages."""
    stages = range(n_stages)
    return [
        *("pace/steps_per_s", "pace/samples_per_s"),
        *(f"pace/busy_{stage}" for stage in stages),
        *(f"pace/peak_bytes_{stage}" for stage in stages),
    ]


Listener = Callable[[Pace], None]


@dataclass(frozen=True)
class _Measured:
    """What one rank has measured: the time since the last look, and the memory of its stages."""

    seconds: float
    peak_bytes: dict[int, int]


class PaceRecord(pl.Callback):
    """Measures the pace of a run at an interval; tells listeners and loggers, on the first rank.

    All ranks measure after the same batches, because they have to meet for it. So the interval is
    counted in batches: as many as the first rank has run in that time before, at first as many
    again as there have been. Only the step at its end is timed action by action.

    Comes after `StepClock`, which decides for itself which steps are timed.

    Args:
        every_s: from one measurement to the next, at least nearly.
        listeners: are called with each.
    """

    def __init__(self, every_s: float, listeners: Sequence[Listener]) -> None:
        self._every_s = every_s
        self._listeners = listeners
        self._n_batches = 0
        self._due = N_WARM_UP

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Have the step timed, if the pace is measured after it."""
        engine = engine_of(trainer)
        if engine is not None and self._n_batches + 1 == self._due:
            engine.measure = True
            self._start = perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, idx: int
    ) -> None:
        """Count the batch, and measure where it is time to."""
        self._n_batches += 1
        if self._n_batches > N_WARM_UP:
            self._n_samples += n_rows_of(trainer, batch)
        if self._n_batches < self._due:
            return
        if self._n_batches == N_WARM_UP:
            self._begin(trainer)
            self._due += 1
        else:
            self._measure(trainer)

    def _begin(self, trainer: pl.Trainer) -> None:
        self._since = perf_counter()
        self._first_batch, self._first_step = self._n_batches, trainer.global_step
        self._n_samples = 0

    def _measure(self, trainer: pl.Trainer) -> None:
        strategy, engine = trainer.strategy, engine_of(trainer)
        if engine is None:
            return
        assert isinstance(strategy, PipelineStrategy)
        now = perf_counter()
        here = _Measured(now - self._since, peak_bytes_of_devices(engine.stages))
        everywhere = strategy.gather_objects(here, "the pace of all ranks")
        seconds = everywhere[0].seconds
        n_batches = self._n_batches - self._first_batch
        if seconds < _NEARLY * self._every_s:
            wanted = (self._every_s - seconds) * n_batches / seconds
        else:
            wanted = self._every_s * n_batches / seconds
            if trainer.is_global_zero:
                self._tell(trainer, seconds, now - self._start, everywhere)
            self._begin(trainer)
        self._due += max(1, round(min(wanted, self._n_batches)))

    def _tell(
        self, trainer: pl.Trainer, seconds: float, step_s: float, everywhere: Sequence[_Measured]
    ) -> None:
        engine = engine_of(trainer)
        assert engine is not None
        assert engine.timeline is not None
        stages, timeline = range(engine.plan.n_stages), engine.timeline
        pace = Pace(
            trainer.current_epoch,
            trainer.global_step,
            (trainer.global_step - self._first_step) / seconds,
            self._n_samples / seconds,
            tuple(timeline.busy_ms(stage) / (step_s * 1e3) for stage in stages),
            tuple(
                max(of_rank.peak_bytes.get(stage, 0) for of_rank in everywhere) for stage in stages
            ),
            len(everywhere),
        )
        for listen in self._listeners:
            listen(pace)
        for logger in trainer.loggers:
            logger.log_metrics(pace.by_name(), step=pace.step)
