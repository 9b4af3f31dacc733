"""Ends a run at Ctrl-C, with a checkpoint to go on from."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl


class InterruptedRunError(RuntimeError):
    """Ctrl-C ended the run; its checkpoint is written."""


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
