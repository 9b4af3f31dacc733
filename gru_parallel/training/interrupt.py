"""Ends a run at Ctrl-C, SIGTERM or SIGUSR1, with a checkpoint to resume from."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch

from gru_parallel.errors import EndOfRunError
from gru_parallel.training.progress import validates_next
from gru_parallel.training.strategy import finish_saving

# On request, SLURM sends SIGUSR1 before the time of a job is up; Windows does not have it.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


class InterruptedRunError(EndOfRunError):
    """A signal ended the run; the message says how to resume it.

    Args:
        message: for the user.
        number: of the signal.

    Attributes:
        status: the exit status, as shells have it: 128 plus the number of the signal.
    """

    ended = "interrupted"

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number


class StopAtInterrupt(pl.Callback):
    """Ends the run at a signal, after the present batch, with a checkpoint to resume from.

    A run that is resumed from a checkpoint written in a validation begins with that validation. The
    run does not stop while gradients are being accumulated, nor at the end of an epoch without a
    validation before the first step of the next: a resumed run would lack these.

    In the test, the checkpoint is there already. A second Ctrl-C ends a run in one process at once.

    Ranks receive signals at different moments, some twice and some not at all. So wherever a run
    could stop, all ranks ask whether any has a signal, and a second one does not end a rank sooner.

    Args:
        checkpoint: where the checkpoint is written.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._number = 0
        """The first signal that came; 0 for none."""
        self._has_waited = False
        self._rewinds = False
        self._step = -1
        self._before: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take over a rank's signals for good: its end is that of its process.

        Lightning saves the handlers after this, and restores these at its end.
        """
        if _is_one_of_many(trainer):
            self._take_over(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals; Lightning restores them at the end of the fit.

        Not in on_fit_start: after that, Lightning replaces the handler of SIGTERM.
        """
        self._take_over(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Record the step, to see whether the batch ends with one."""
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop here, if asked to, unless gradients are being accumulated or the epoch ends.

        In a validation that follows, it stops after its first batch.
        """
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        is_between = is_last or validates_next(trainer)
        if trainer.global_step > self._step and not is_between and self._is_wanted(trainer):
            self._stop(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop here, if asked to, unless gradients are being accumulated."""
        if trainer.sanity_checking or trainer.global_step == self._step:
            return
        if self._is_wanted(trainer):
            self._rewinds = True
            self._stop(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Reset the validation to its first batch, from which Lightning resumes it.

        It would assume that one saved at the end of a batch is complete.
        """
        if not self._rewinds:
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        n_batches = progress["current"]["completed"]
        for counts in (progress["total"], progress["current"]):
            n_before = counts["completed"] - n_batches
            counts |= {"ready": n_before + 1, "started": n_before + 1}
            counts |= {"processed": n_before, "completed": n_before}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here, if asked to since the epoch before: this one has only one step, its last."""
        is_wanted = self._is_wanted(trainer)
        if is_wanted and self._has_waited:
            # Lightning calls the module after the callbacks, but this one ends the run.
            pl_module.on_train_epoch_end()
            self._stop(trainer)
        self._has_waited = is_wanted

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop here, if asked to, and leave out the test."""
        if self._is_wanted(trainer):
            self._stop(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals; Lightning restores them at the end of the test."""
        self._take_over(trainer)

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop here, if asked to."""
        if self._is_wanted(trainer):
            number = self._agreed_number(trainer)
            raise InterruptedRunError(
                f"Stopped by {_name(number)} in the test; the training is complete.\n"
                f"Test it with ckpt_path={self.checkpoint}",
                number,
            )

    def _is_wanted(self, trainer: pl.Trainer) -> bool:
        """Whether any rank has a signal. All ranks ask at the same points."""
        return trainer.strategy.reduce_boolean_decision(self._number != 0, all=False)

    def _stop(self, trainer: pl.Trainer) -> None:
        number = self._agreed_number(trainer)
        trainer.save_checkpoint(self.checkpoint)
        finish_saving(trainer)
        raise InterruptedRunError(
            f"Stopped by {_name(number)} after step {trainer.global_step}; checkpoint written:"
            f" {self.checkpoint}\nResume with ckpt_path={self.checkpoint}",
            number,
        )

    def _agreed_number(self, trainer: pl.Trainer) -> int:
        """Return the signal of a rank that has one, the same on all ranks."""
        number = torch.tensor(self._number, device=trainer.strategy.root_device)
        return int(trainer.strategy.all_gather(number).max())

    def _take_over(self, trainer: pl.Trainer) -> None:
        # Python allows this only in the main thread.
        if threading.current_thread() is not threading.main_thread():
            return
        handle = self._record if _is_one_of_many(trainer) else self._record_first
        for number in STOP_SIGNALS:
            before = signal.signal(number, handle)
            if number == signal.SIGINT:
                self._before = before
        if trainer.received_sigterm:
            # It came after Lightning had taken over the signals and before this; Lightning would
            # end the run after its first batch, without a checkpoint.
            self._number = self._number or signal.SIGTERM
            trainer._signal_connector.received_sigterm = False

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._number = self._number or number

    def _record_first(self, number: int, frame: FrameType | None) -> None:
        """Record the signal, and restore Ctrl-C, so that a second one ends the run at once."""
        self._record(number, frame)
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


def _is_one_of_many(trainer: pl.Trainer) -> bool:
    """Whether this process is one rank of many, which Lightning's strategies do not tell."""
    return bool(getattr(trainer.strategy, "is_one_of_many", False))


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
