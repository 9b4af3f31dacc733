"""Ends a run whose loss is NaN or infinite before the loss reaches weights or checkpoints."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from gru_parallel.errors import EndOfRunError, UsageError
from gru_parallel.placement import Plan
from gru_parallel.training.checkpoint_file import read_checkpoint
from gru_parallel.training.module import windows_of
from gru_parallel.training.strategy import engine_of, finish_saving


class NonFiniteLossError(EndOfRunError):
    """The loss became NaN or infinite."""


class StopAtNonFiniteLoss(pl.Callback):
    """Ends the run before a loss that is NaN or infinite reaches the weights.

    Args:
        plan: to name the stage, its device and layers.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._batch: Any = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch, to examine it if its loss is not finite."""
        self._batch = batch

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Check the loss.

        Raises:
            NonFiniteLossError: it is NaN or infinite; the message names step, stage and last good
                checkpoint.
        """
        if not torch.isfinite(loss):
            raise self._error(trainer, loss, f"at step {trainer.global_step + 1}")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the loss of the validation, before weights that cannot be used are saved.

        Raises:
            NonFiniteLossError: it is NaN or infinite.
        """
        loss = trainer.callback_metrics.get("val/loss")
        if loss is not None and not torch.isfinite(loss) and not trainer.sanity_checking:
            raise self._error(trainer, loss, f"in the validation after step {trainer.global_step}")

    def _error(self, trainer: pl.Trainer, loss: Tensor, when: str) -> NonFiniteLossError:
        # A run that is resumed in a validation begins with it, and has seen no batch to examine.
        origin = "" if self._batch is None else self._origin(trainer)
        finish_saving(trainer)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        return NonFiniteLossError(
            f"The loss became {loss.item()} {when}{origin}.\n"
            f"Last good checkpoint: {_last_good_checkpoint(trainer)}. Try a lower optimizer.lr (now"
            f" {rate:g}) or trainer.gradient_clip_val=1.0."
        )

    def _origin(self, trainer: pl.Trainer) -> str:
        engine = engine_of(trainer)
        found = None
        if engine is not None:
            step = trainer.fit_loop.total_batch_idx
            found = engine.first_nonfinite_stage(windows_of(self._batch), step)
        # If every output is finite, the head or the loss overflowed.
        stage = self.plan.n_stages - 1 if found is None else found
        device, layers = self.plan.stages[stage].device, self.plan.stage_layers(stage)
        return (
            "; the first values that are not finite came from"
            f" stage {stage} ({device}, layers {layers.start}-{layers.stop - 1})"
        )


def _last_good_checkpoint(trainer: pl.Trainer) -> str:
    callbacks = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    # For a callback that watches no metric, the last one is the best.
    paths = [callback.best_model_path for callback in reversed(callbacks)]
    paths.append(str(trainer.ckpt_path or ""))
    return next((path for path in paths if path and _is_good(path, trainer.global_step)), "none")


def _is_good(path: str, step: int) -> bool:
    """Whether a checkpoint's weights are finite, and not those with the bad loss at `step`.

    Weights can be finite and yet so large that every loss overflows.
    """
    try:
        saved = read_checkpoint(path)
    except UsageError:
        return False
    return saved["global_step"] < step and all(
        w.isfinite().all() for w in saved["state_dict"].values()
    )
