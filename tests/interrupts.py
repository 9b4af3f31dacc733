"""Sends a signal to this process at a chosen moment of a run."""

import os
import signal
from typing import Any

import lightning.pytorch as pl

from gru_parallel.training.interrupt import STOP_SIGNALS


class SendSignal(pl.Callback):
    """Sends this process a signal at the beginning of a batch.

    Args:
        batch: of all batches of the training.
        hook: of the callback, at which the signal is sent.
        times: how often.
        name: of the signal; SIGINT is what Ctrl-C sends.
    """

    def __init__(
        self, batch: int, hook: str = "on_train_batch_start", times: int = 1, name: str = "SIGINT"
    ) -> None:
        self.batch = batch
        self.times = times
        self.number = signal.Signals[name]
        setattr(self, hook, self._send)

    def _send(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)
            self.batch = -1


DEFAULT_HANDLERS = {
    number: signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    for number in STOP_SIGNALS
}
"""What Python does at each signal that ends a run."""


def restore_handlers() -> None:
    """Put Python's own handlers back, whatever Lightning left behind."""
    for number, handler in DEFAULT_HANDLERS.items():
        signal.signal(number, handler)
