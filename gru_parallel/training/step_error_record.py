"""Measures the errors of a test by horizon step and target."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError

from gru_parallel.step_errors import StepErrors
from gru_parallel.training.metrics import gather_states, to_compare


class StepErrorRecord(pl.Callback):
    """Measures the errors of a test by horizon step and target.

    They are gathered over ranks as the metrics of `SeriesModule` are.

    Args:
        n_steps: that each window forecasts; 1 if it forecasts one at every step.
        n_targets: that are forecast.
        every_step: whether there is a prediction at every step of a window.

    Attributes:
        errors: of the last test, over all windows of all ranks; None before its end.
    """

    def __init__(self, n_steps: int, n_targets: int, *, every_step: bool = False) -> None:
        self.errors: StepErrors | None = None
        self._shape = (n_steps, n_targets)
        self._every_step = every_step
        n_outputs = n_steps * n_targets
        self._squared = MeanSquaredError(num_outputs=n_outputs)
        self._absolute = MeanAbsoluteError(num_outputs=n_outputs)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to measure, where predictions come out."""
        strategy = trainer.strategy

        def gather(state: Tensor, group: Any = None) -> list[Tensor]:
            return list(strategy.all_gather(state, group))

        self.errors = None
        for metric in (self._squared, self._absolute):
            metric.reset()
            metric.to(strategy.root_device)
            gather_states(metric, gather)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch; on a rank where no predictions come out, none of its windows."""
        # Of several numbers, the first is the point forecast.
        point = outputs[..., 0] if outputs.dim() > batch["y"].dim() else outputs
        prediction, target = to_compare(point, batch, every_step=self._every_step)
        n_steps, n_targets = self._shape
        by_output = (-1, n_steps * n_targets)
        for metric in (self._squared, self._absolute):
            metric.update(prediction.reshape(by_output), target.reshape(by_output))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring together what all ranks have measured."""
        mse, mae = (
            metric.compute().detach().double().cpu().reshape(self._shape).numpy()
            for metric in (self._squared, self._absolute)
        )
        self.errors = StepErrors(mse, mae)
