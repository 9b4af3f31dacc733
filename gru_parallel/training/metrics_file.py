"""Writes metrics.csv: what a run logged, a row a step."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor
from torch.optim import Optimizer


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
