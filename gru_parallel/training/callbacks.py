"""What happens beside the training loop: times, metrics.csv, a stop at NaN, a stop at Ctrl-C."""

from __future__ import annotations

import csv
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from statistics import median, median_low
from time import perf_counter
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim import Optimizer

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.placement import Plan
from gru_parallel.schedule import Timeline
from gru_parallel.training.strategy import PipelineStrategy


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite."""


class InterruptedRunError(RuntimeError):
    """Ctrl-C ended the run; its checkpoint is written."""


def _engine(trainer: pl.Trainer) -> ThreadEngine | None:
    strategy = trainer.strategy
    return strategy.engine if isinstance(strategy, PipelineStrategy) else None


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
        engine = _engine(trainer)
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
        n_samples = len(batch["x"])
        pl_module.log("samples/s", n_samples / seconds, prog_bar=True, batch_size=n_samples)
        self._n_seen += 1
        if self._n_seen == self._n_warm_up + 1:
            # The first steps stood in only for the case that no others would come.
            self._step_ms, self._samples_per_s, self._timelines = [], [], []
        self._step_ms.append(seconds * 1e3)
        self._samples_per_s.append(n_samples / seconds)
        engine = _engine(trainer)
        if engine is not None and engine.timeline is not None and engine.measure:
            self._timelines.append(engine.timeline)


class MetricsFile(pl.Callback):
    """Writes metrics.csv: a row for each logged step, the loss in full precision.

    Rows are added to a file that is there already, so a run resumed in its folder loses none.

    Args:
        path: of the file; its folder exists.
        every_n_steps: optimiser steps from one row to the next.
    """

    columns = ("epoch", "step", "train/loss", "samples/s", "lr")

    def __init__(self, path: Path, every_n_steps: int) -> None:
        self.path = path
        self.every_n_steps = every_n_steps
        self._last_step = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the header of a new file."""
        del pl_module
        self._last_step = trainer.global_step
        if not self.path.exists():
            self._write(self.columns)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Note the rate of the step: at the end of the batch it is that of the next already."""
        del trainer, pl_module
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write a row where Lightning logs one."""
        del pl_module, batch, batch_idx
        step = trainer.global_step
        # While gradients are accumulated, several batches end at one step.
        if step == self._last_step or step % self.every_n_steps != 0:
            return
        self._last_step = step
        assert isinstance(outputs, Mapping)
        samples = float(trainer.callback_metrics["samples/s"])
        loss = float(outputs["loss"])
        self._write((trainer.current_epoch, step, repr(loss), f"{samples:.1f}", self._rate))

    def _write(self, row: tuple[Any, ...]) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow(row)


class StopAtNonFiniteLoss(pl.Callback):
    """Ends the run before a loss that is NaN or infinite reaches the weights.

    Args:
        plan: to name the stage, its device and layers.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch, to look into it should its loss be wrong."""
        del trainer, pl_module, batch_idx
        self._batch = batch

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Look at the loss.

        Raises:
            NonFiniteLossError: it is NaN or infinite; names step, stage and last good checkpoint.
        """
        del pl_module
        if not torch.isfinite(loss):
            raise self._error(trainer, loss, f"at step {trainer.global_step + 1}")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the loss of the validation, before weights that are no good are saved.

        Raises:
            NonFiniteLossError: it is NaN or infinite.
        """
        del pl_module
        loss = trainer.callback_metrics.get("val/loss")
        if loss is not None and not torch.isfinite(loss) and not trainer.sanity_checking:
            raise self._error(trainer, loss, f"in the validation after step {trainer.global_step}")

    def _error(self, trainer: pl.Trainer, loss: Tensor, when: str) -> NonFiniteLossError:
        stage = self._stage(trainer)
        placed, layers = self.plan.stages[stage], self.plan.stage_layers(stage)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        return NonFiniteLossError(
            f"The loss became {loss.item()} {when}; the first values that are not finite came from"
            f" stage {stage} ({placed.device}, layers {layers.start}-{layers.stop - 1}).\n"
            f"Last good checkpoint: {_last_checkpoint(trainer)}. Try a lower optimizer.lr (now"
            f" {rate:g}) or trainer.gradient_clip_val=1.0."
        )

    def _stage(self, trainer: pl.Trainer) -> int:
        engine = _engine(trainer)
        found = None
        if engine is not None:
            step = trainer.fit_loop.total_batch_idx
            found = engine.first_nonfinite_stage(self._batch["x"], step=step)
        # Where every output is finite, the head or the loss itself overflowed.
        return self.plan.n_stages - 1 if found is None else found


class StopAtInterrupt(pl.Callback):
    """Ends the run at Ctrl-C after the step under way, with a checkpoint to go on from.

    At the end of an epoch, its validation included, that is the first step of the next. A second
    Ctrl-C ends it at once.

    Args:
        checkpoint: where the checkpoint is written.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._wanted = False
        self._has_waited = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over Ctrl-C; Python lets only the main thread do so.

        Not in on_fit_start, after which Lightning takes down the handlers that it puts back at the
        very end.
        """
        del trainer, pl_module
        self._before = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give Ctrl-C back."""
        del trainer, pl_module
        self._give_back()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give Ctrl-C back."""
        del trainer, pl_module, exception
        self._give_back()

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Note the step, to see whether the batch ends in one."""
        del args, kwargs
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop here, if wanted, unless a resumed run would miss something.

        That is, the gradients that are being accumulated, or what comes at the end of an epoch.
        """
        del args, kwargs
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if trainer.global_step > self._step and not is_last:
            self._stop_if_wanted(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here, if wanted since the epoch before: this one has but one step, its last."""
        if self._wanted and self._has_waited:
            # Lightning would come to the module after the callbacks, but this one ends the run.
            pl_module.on_train_epoch_end()
            self._stop_if_wanted(trainer)
        self._has_waited = self._wanted

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here, if wanted, and leave out the test."""
        del pl_module
        self._stop_if_wanted(trainer)

    def _stop_if_wanted(self, trainer: pl.Trainer) -> None:
        if not self._wanted:
            return
        trainer.save_checkpoint(self.checkpoint)
        raise InterruptedRunError(
            f"Stopped by Ctrl-C after step {trainer.global_step}; checkpoint written:"
            f" {self.checkpoint}\nGo on with ckpt_path={self.checkpoint}"
        )

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._wanted = True
        self._give_back()

    def _give_back(self) -> None:
        if getattr(self, "_before", None) is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None


def _last_checkpoint(trainer: pl.Trainer) -> str:
    callbacks = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    # For a callback without a metric to watch, the last one is the best.
    paths = [callback.best_model_path for callback in reversed(callbacks)]
    paths.append(str(trainer.ckpt_path or ""))
    return next((path for path in paths if path), "none was written yet")
