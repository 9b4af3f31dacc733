"""Ends a run at Ctrl-C, with a checkpoint to go on from."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl

from gru_parallel.errors import EndOfRunError


class InterruptedRunError(EndOfRunError):
    """Ctrl-C ended the run; the message says how to go on."""

    status = 130


class StopAtInterrupt(pl.Callback):
    """Ends the run at Ctrl-C after the batch under way, with a checkpoint to go on from.

    A run that goes on from a checkpoint written in a validation begins with that validation. What
    is waited for, because a resumed run would miss it: the gradients that are being accumulated,
    and, at the end of an epoch without a validation, the first step of the next.

    In the test, the checkpoint is there already. A second Ctrl-C ends the run at once.

    Args:
        checkpoint: where the checkpoint is written.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._wanted = False
        self._has_waited = False
        self._rewinds = False
        self._step = -1
        self._before: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over Ctrl-C.

        Not in on_fit_start, after which Lightning takes down the handlers that it puts back at the
        very end.
        """
        del trainer, pl_module
        self._take_over()

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
        """Stop here, if wanted, unless gradients are being accumulated or the epoch ends."""
        del args, kwargs
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if trainer.global_step > self._step and not is_last:
            self._stop_if_wanted(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop here, if wanted, unless gradients are being accumulated."""
        del args, kwargs
        if self._wanted and trainer.global_step > self._step:
            self._rewinds = True
            self._stop_if_wanted(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the validation back to its first batch, where Lightning takes it up again.

        It would take one saved at the end of a batch for a whole one.
        """
        del trainer, pl_module
        if not self._rewinds:
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        n_batches = progress["current"]["completed"]
        for counts in (progress["total"], progress["current"]):
            n_before = counts["completed"] - n_batches
            counts |= {"ready": n_before + 1, "started": n_before + 1}
            counts |= {"processed": n_before, "completed": n_before}

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

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over Ctrl-C."""
        del trainer, pl_module
        self._take_over()

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop here, if wanted."""
        del args, kwargs
        if self._wanted:
            raise InterruptedRunError(
                "Stopped by Ctrl-C in the test; the training is complete.\n"
                f"Test it with ckpt_path={self.checkpoint}"
            )

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give Ctrl-C back."""
        del trainer, pl_module
        self._give_back()

    def _stop_if_wanted(self, trainer: pl.Trainer) -> None:
        if not self._wanted:
            return
        trainer.save_checkpoint(self.checkpoint)
        raise InterruptedRunError(
            f"Stopped by Ctrl-C after step {trainer.global_step}; checkpoint written:"
            f" {self.checkpoint}\nGo on with ckpt_path={self.checkpoint}"
        )

    def _take_over(self) -> None:
        # Python lets only the main thread do so.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._wanted = True
        self._give_back()

    def _give_back(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
