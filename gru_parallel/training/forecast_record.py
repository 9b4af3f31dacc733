"""Keeps what the model predicts for some windows of the test, for a report to show."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from gru_parallel.model.loss import wide
from gru_parallel.training.strategy import PipelineStrategy


class ForecastRecord(pl.Callback):
    """Keeps the predictions of some windows of the test.

    Args:
        wanted: the windows.
        windows_of: from a batch and its number to the windows of its rows.

    Attributes:
        predictions: by window, as the model gave them, in at least 32 bits, on the CPU; those of
            all ranks once the test has ended.
    """

    def __init__(
        self, wanted: Collection[int], windows_of: Callable[[dict[str, Tensor], int], Tensor]
    ) -> None:
        self.predictions: dict[int, Tensor] = {}
        self._wanted = frozenset(wanted)
        self._windows_of = windows_of

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep those of the batch that are wanted."""
        if len(outputs) == 0:
            # They come out in another process.
            return
        for row, window in enumerate(self._windows_of(batch, batch_idx).tolist()):
            if window in self._wanted:
                self.predictions[window] = wide(outputs[row].detach()).cpu()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring together what all ranks have."""
        assert isinstance(trainer.strategy, PipelineStrategy)
        what = "the forecasts of all ranks"
        for of_rank in trainer.strategy.gather_objects(self.predictions, what):
            self.predictions |= of_rank
