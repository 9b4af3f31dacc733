"""The LightningModule: losses, metrics, optimisers. Knows no devices; an engine runs the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any, Self, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from gru_parallel.engine.engine import Engine, WholeEngine
from gru_parallel.model import StackModel, SumLoss, Windows
from gru_parallel.model.decay import to_optimize
from gru_parallel.model.loss import weighted_total
from gru_parallel.training.accumulation import check_steps_are_known
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.compared import compare
from gru_parallel.training.forecast_metrics import ForecastMetrics
from gru_parallel.training.metrics import to_compare, weights_to_compare
from gru_parallel.training.module_description import (
    arguments_from,
    describe_module,
    for_lightning,
)
from gru_parallel.training.optimizer_checks import check_carrying, check_clipping
from gru_parallel.training.progress import Progress, steps_of_run
from gru_parallel.training.resume import Beginning, resume
from gru_parallel.training.resumed_epoch import begin_next_epoch, take_up_cut_epoch
from gru_parallel.training.watched_metric import WatchedMetric

Batch = dict[str, Tensor]
"""x: (batch, time, n_channels); y: targets, batch first; anchor: what they are relative to.

And, if need be, what else `Windows` has: lengths, h_0, reset, scale, future, static, weight.
"""

_OTHERS = tuple(field.name for field in fields(Windows) if field.name != "x")

MakeOptimizer = Callable[[list[nn.Parameter] | list[dict[str, Any]]], Optimizer]
"""From weights, or groups of them with settings of their own, to an optimiser."""

MakeScheduler = Callable[[Optimizer, int], LRScheduler]
"""(optimiser, its steps in the whole run, or -1 if that has no end) -> learning-rate schedule."""


class SeriesModule(pl.LightningModule):
    """Trains a model on windows of a series, with any Trainer flag that Lightning has.

    Under `PipelineStrategy` the model runs through a pipeline; under any other strategy it runs in
    one piece. The numbers are the same.

    Args:
        model: encoder, blocks and head.
        loss: what is minimised.
        make_optimizer: from the parameters, or groups of them, to an optimiser.
        make_scheduler: to a learning-rate schedule; None keeps the rate.
        schedule_interval: "step" or "epoch": how often the schedule moves.
        monitor: the metric that a schedule such as ReduceLROnPlateau watches.
        seed: of the run, for dropout.
        weight_decay_on: which weights decay, one of `DECAYED`: see `to_optimize`.

    Attributes:
        config: settings of the run, plain values that its checkpoints keep; None for none.
    """

    def __init__(
        self,
        model: StackModel,
        loss: SumLoss,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler | None = None,
        *,
        schedule_interval: str = "step",
        monitor: str = "val/loss",
        seed: int = 0,
        weight_decay_on: str = "all",
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.seed = seed
        self.make_optimizer = make_optimizer
        self.weight_decay_on = weight_decay_on
        self._make_scheduler = make_scheduler
        self._schedule_interval = schedule_interval
        self._watched = WatchedMetric(monitor)
        self._engine: Engine = WholeEngine(model, loss, seed=seed)
        levels = model.output.levels
        self.metrics = nn.ModuleDict({part: ForecastMetrics(levels) for part in ("val", "test")})
        self._resumed: dict[str, Any] | None = None
        self._beginning: Beginning | None = None
        self.config: dict[str, Any] | None = None

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **options: Any,
    ) -> Self:
        """Build the module that a checkpoint was written by, with its weights.

        The model, the loss and an optimiser of torch's own are built again; no code is run that the
        file would name. A schedule of the rate is not: give `make_scheduler`.

        Args:
            checkpoint_path: of the checkpoint, a file or a folder; or an open file.
            map_location: as in `torch.load`.
            hparams_file: as in Lightning; of no use here.
            strict: whether the weights' names must be those of the model.
            weights_only: as in `torch.load`.
            options: of this class; what is given here is not taken from the checkpoint.

        Raises:
            UsageError: this is no checkpoint, or it cannot tell the model, the loss or the
                optimiser, and it is not given.
        """
        saved = read_checkpoint(checkpoint_path, weights_only=weights_only)
        known = arguments_from(saved, options, checkpoint_path)
        file = for_lightning(checkpoint_path, saved)
        return super().load_from_checkpoint(
            file, map_location, hparams_file, strict, weights_only, **known
        )

    @property
    def engine(self) -> Engine:
        """What runs the model now."""
        return self._engine

    def use_engine(self, engine: Engine | None) -> None:
        """Run the model with `engine` from now on; with None, in one piece."""
        carried = self._engine.carried
        self._engine = engine or WholeEngine(self.model, self.loss, seed=self.seed)
        self._engine.carried = carried

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        step = self.trainer.fit_loop.total_batch_idx
        loss = self._engine.train_step(windows_of(batch), step)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch["x"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count a validation batch in the metrics, `val/loss`, `val/mse`, `val/mae`, ..."""
        self._measure("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count a test batch in `test/loss`, `test/mse`, ..., and return its forecasts."""
        return self._measure("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the batch's forecasts, see `Output.forecast`, in units of the series, in float64.

        Without the data module that standardised the series, they stay standardised. Rows are those
        of the batch: of streams, `batch["index"]` says which window each is.
        """
        # A float32 of a high level would lose the digits in which forecasts differ.
        forecast = self.model.output.forecast(self._predict(batch)).double()
        anchor = batch["anchor"][: len(forecast)].to(forecast.device)
        has_levels = len(self.model.output.levels) > 0
        found = (forecast.movedim(-1, 0) if has_levels else forecast) + anchor
        found = found if self._inverse is None else self._inverse(found)
        return self._engine.collect(found.movedim(0, -1) if has_levels else found)

    def __getstate__(self) -> dict[str, Any]:
        """Leave a pipeline behind: a copy of the module runs in one piece, as after a run."""
        state: dict[str, Any] = super().__getstate__()
        whole = WholeEngine(self.model, self.loss, seed=self.seed)
        whole.carried = self._engine.carried
        return state | {"_engine": whole}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients; by norm over all stages, wherever they are.

        Raises:
            UsageError: they are still scaled, see `check_clipping`.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        check_clipping(optimizer, gradient_clip_val, is_scaled=scaler is not None)
        if not gradient_clip_val or gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        trained = {weight for group in optimizer.param_groups for weight in group["params"]}
        # Added up in one order, whatever the groups.
        weights = [weight for weight in self.parameters() if weight in trained]
        self._engine.clip_grad_norm(weights, gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what this module is, how its training began, and the states that it carries.

        They are what the next batch starts from, in the layout of `nn.GRU`'s h_n.
        """
        carried = self._engine.carried
        checkpoint["carried"] = {use: h_n for use, h_n in carried.items() if use == "training"}
        checkpoint["module"] = describe_module(
            self.model, self.loss, self.seed, self.weight_decay_on
        )
        checkpoint["watched"] = self._watched.state(self.trainer)
        if self._beginning is not None:
            checkpoint["beginning"] = asdict(self._beginning)
        if self.config is not None:
            checkpoint["config"] = self.config

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the states that the checkpoint kept, on whatever devices."""
        self._engine.carried = checkpoint.get("carried", {})
        is_fit = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        self._resumed = checkpoint if is_fit else None
        if is_fit:
            self._watched.load_state(checkpoint.get("watched", {}))
            take_up_cut_epoch(checkpoint)

    def on_train_start(self) -> None:
        """Begin the next epoch, where the checkpoint has all batches of its own."""
        begin_next_epoch(self.trainer)

    def on_train_epoch_end(self) -> None:
        """Move a learning-rate schedule that watches a metric.

        Lightning would do so after the epoch's checkpoint is written, and not at all at the end of
        an epoch in which a run was resumed, so that a resumed run would have another rate.
        """
        self._watched.move_schedules(self.trainer)

    def lr_scheduler_step(self, scheduler: LRScheduler | ReduceLROnPlateau, metric: Any) -> None:
        """Move a learning-rate schedule, unless `on_train_epoch_end` has."""
        if self._schedule_interval != "epoch" or not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def new_optimizer(self) -> Optimizer:
        """Make an optimiser over all parameters of this process."""
        return self.make_optimizer(to_optimize(self.model, self.weight_decay_on))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimiser over all parameters, and its learning-rate schedule.

        Raises:
            UsageError: the run is resumed from a checkpoint with another optimiser, states are
                carried and it runs a batch more than once, or the steps of the run are not known.
        """
        resumed, self._resumed = self._resumed, None
        optimizer = self.new_optimizer()
        if self.model.gru.carries:
            check_carrying(optimizer)
        scheduler = None
        if self._make_scheduler is not None:
            check_steps_are_known(self.trainer, self._schedule_interval)
            scheduler = self._make_scheduler(optimizer, self._n_steps(resumed))
        self._beginning = Beginning.of(optimizer, scheduler, self._schedule_interval)
        if resumed is not None:
            resume(resumed, optimizer, scheduler, self._schedule_interval)
        if scheduler is None:
            return optimizer
        return cast(
            OptimizerLRScheduler,
            {
                "optimizer": optimizer,
                "lr_scheduler": {
                    "scheduler": scheduler,
                    "interval": self._schedule_interval,
                    "monitor": self._watched.name,
                    "frequency": self._frequency(scheduler),
                },
            },
        )

    def _frequency(self, scheduler: LRScheduler) -> int:
        """Return the epochs, or steps, from one move of a schedule to the next.

        One that watches a validation moves in the epochs that have one.
        """
        watches = isinstance(scheduler, ReduceLROnPlateau) and self._schedule_interval == "epoch"
        if not watches or self._watched.name.startswith("train/"):
            return 1
        return self.trainer.check_val_every_n_epoch or 1

    def _n_steps(self, resumed: dict[str, Any] | None) -> int:
        """Return the number of optimiser steps in the whole run, -1 for a run without an end."""
        trainer = self.trainer
        # Counts the batches of an epoch.
        _ = trainer.estimated_stepping_batches
        # To count, Lightning 2.6 loads the data before it knows that it resumes, and would not
        # tell this loader its place in the epoch; so it has to load them again.
        trainer.fit_loop._combined_loader = None
        assert trainer.max_epochs is not None
        return steps_of_run(
            trainer.num_training_batches,
            trainer.accumulate_grad_batches,
            trainer.max_epochs,
            trainer.max_steps,
            None if resumed is None else Progress.of(resumed),
        )

    def _measure(self, part: str, batch: Batch) -> Tensor:
        """Count a batch in the metrics of a part, and return its forecasts."""
        predicted = self._predict(batch)
        forecast = self.model.output.forecast(predicted)
        every_step = self.model.head.every_step
        prediction, target = to_compare(predicted, batch, every_step=every_step)
        weight = weights_to_compare(predicted, batch, every_step=every_step)
        total = weighted_total(self.loss, prediction, target, weight)
        losses = total, self.loss.count(target)
        metrics = cast(ForecastMetrics, self.metrics[part])
        compared = compare(
            forecast,
            batch,
            self._inverse,
            every_step=every_step,
            has_quantiles=len(metrics.levels) > 0,
        )
        for name, metric in metrics.count(*losses, compared):
            self.log(f"{part}/{name}", metric, prog_bar=name == "loss", batch_size=len(batch["x"]))
        return forecast

    @property
    def _inverse(self) -> Callable[[Tensor], Tensor] | None:
        """What brings values to the units of the series: a data module that standardised it."""
        inverse: Callable[[Tensor], Tensor] | None = getattr(
            getattr(self.trainer, "datamodule", None), "inverse", None
        )
        return inverse

    def _predict(self, batch: Batch) -> Tensor:
        windows = replace(windows_of(batch), y=None)
        if windows.reset is None:
            # Evaluated window by window, each starts anew.
            windows = replace(windows, reset=torch.ones(len(windows.x), dtype=torch.bool))
        return self._engine.predict(windows)


def windows_of(batch: Batch) -> Windows:
    """Take out of a batch what an engine takes."""
    return Windows(batch["x"], **{name: batch.get(name) for name in _OTHERS})
