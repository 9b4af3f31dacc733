"""Writes metrics.csv: what a run logged, one row per step, epoch and validation."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch.optim import Optimizer

from gru_parallel.run_folder import RunFolder
from gru_parallel.training.epoch_record import EpochResult


class MetricsFile(pl.Callback):
    """Writes metrics.csv, in full precision: one row for each logged step and epoch.

    A row of an epoch, or of a validation within one, has its mean training loss so far and the
    validation's metrics in other columns than a step, whose columns are then empty.

    If gradients are accumulated, the loss and samples/s are those of the last batch of the step, as
    in Lightning's log. A run that is resumed in its own folder keeps the rows up to
    its checkpoint; any other begins the file anew.

    Args:
        path: of the file; its folder exists.
        every_n_steps: optimiser steps from one row to the next.
    """

    columns = (
        *("epoch", "step", "train/loss", "samples/s", "lr"),
        *("train/loss_epoch", "val/loss", "val/mse", "val/mae"),
    )

    def __init__(self, path: Path, every_n_steps: int) -> None:
        self.path = path
        self.every_n_steps = every_n_steps
        self._last_step = 0

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Record the step that the run is resumed from."""
        self._last_step = checkpoint["global_step"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the header and the rows that are kept."""
        if not trainer.is_global_zero:
            return
        rows = self._kept_rows(trainer.ckpt_path)
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows([self.columns, *rows])

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Record the rate of the step: after the batch it is already that of the next one."""
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Write a row when Lightning logs one."""
        step = trainer.global_step
        # While gradients are accumulated, several batches end at one step.
        if step == self._last_step or step % self.every_n_steps != 0:
            return
        self._last_step = step
        metrics = trainer.callback_metrics
        # Not that of `outputs`, which is divided by the number of accumulated batches.
        loss, samples = float(metrics["train/loss"]), float(metrics["samples/s"])
        if trainer.is_global_zero:
            row = {"train/loss": loss, "samples/s": f"{samples:.1f}", "lr": self._rate}
            self._write({"epoch": trainer.current_epoch, "step": step, **row})

    def write_epoch(self, result: EpochResult) -> None:
        """Write the row of an epoch, or of a validation within one."""
        row = {"epoch": result.epoch, "step": result.step, "lr": result.rate}
        self._write({**row, "train/loss_epoch": result.train_loss, **result.validation})

    def _write(self, row: Mapping[str, Any]) -> None:
        with self.path.open("a", newline="") as file:
            # Python writes a float with enough digits to tell it from any other.
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def _kept_rows(self, ckpt_path: Path | str | None) -> list[list[str]]:
        if not RunFolder(self.path.parent).holds(ckpt_path) or not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            _, *rows = csv.reader(file)
        step = self.columns.index("step")
        return [row for row in rows if int(row[step]) <= self._last_step]
