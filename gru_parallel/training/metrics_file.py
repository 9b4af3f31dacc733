"""Writes metrics.csv: what a run logged, one row per step, epoch, validation and pace."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch.optim import Optimizer

from gru_parallel.choices import metric_names
from gru_parallel.run_folder import RunFolder
from gru_parallel.training.epoch_record import EpochRecord, EpochResult
from gru_parallel.training.pace import Pace
from gru_parallel.whole_file import whole_file


class MetricsFile(pl.Callback):
    """Writes metrics.csv, in full precision: one row for each logged step and epoch.

    A row of an epoch, or of a validation within one, has its mean training loss so far and the
    validation's metrics in other columns than a step, whose columns are then empty. So has a row of
    the pace of a run.

    If gradients are accumulated, the loss and samples/s are those of the last batch of the step, as
    in Lightning's log. A run that is resumed in its own folder keeps the rows up to
    its checkpoint; any other begins the file anew.

    Args:
        path: of the file; its folder exists.
        every_n_steps: optimiser steps from one row to the next.
        columns_of_pace: names of what `Pace.by_name` returns in this run; none where no pace is
            written.
        levels: of the quantiles that are forecast.
    """

    def __init__(
        self,
        path: Path,
        every_n_steps: int,
        columns_of_pace: Sequence[str] = (),
        levels: Sequence[float] = (),
    ) -> None:
        self.path = path
        self.columns = [
            *("epoch", "step", "train/loss", "samples/s", "lr"),
            *("train/loss_epoch", "val/loss"),
            *(f"val/{name}" for name in metric_names(levels)),
            *columns_of_pace,
        ]
        self.every_n_steps = every_n_steps
        self._last_step = 0
        self._open_epoch: int | None = None

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Record the step that the run is resumed from, and an epoch that it only has to end."""
        self._last_step = checkpoint["global_step"]
        record = checkpoint["callbacks"].get(EpochRecord.__qualname__, {})
        self._open_epoch = record["epoch"] if record.get("validation") else None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the header and the rows that are kept."""
        if not trainer.is_global_zero:
            return
        rows = self._kept_rows(trainer.ckpt_path)
        # A process that is killed meanwhile leaves the rows that were there.
        with whole_file(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(rows)

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

    def write_pace(self, pace: Pace) -> None:
        """Write the row of how fast the run goes."""
        self._write({"epoch": pace.epoch, "step": pace.step, **pace.by_name()})

    def _write(self, row: Mapping[str, Any]) -> None:
        with self.path.open("a", newline="") as file:
            # Python writes a float with enough digits to tell it from any other.
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def _kept_rows(self, ckpt_path: Path | str | None) -> list[dict[str, str]]:
        """Return the rows up to the checkpoint, and keep their columns, such as those of stages."""
        if not RunFolder(self.path.parent).holds(ckpt_path) or not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            # A full disk cuts off the last one.
            whole = [line for line in file if line.endswith("\n")]
        reader = csv.DictReader(whole)
        rows = [row for row in reader if not self._comes_again(row)]
        before = reader.fieldnames or ()
        self.columns += [name for name in before if name not in self.columns]
        return rows

    def _comes_again(self, row: Mapping[str, str]) -> bool:
        """Whether a row is one of those that the resumed run writes."""
        step = int(row["step"])
        if step == self._last_step and row["train/loss_epoch"]:
            return int(row["epoch"]) == self._open_epoch
        return step > self._last_step
