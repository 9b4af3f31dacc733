"""Presses Ctrl-C at a chosen moment of a run."""

import os
import signal
from typing import Any

import lightning.pytorch as pl


class PressCtrlC(pl.Callback):
    """Sends this process a SIGINT at the beginning of a batch."""

    def __init__(self, batch: int, hook: str = "on_train_batch_start", times: int = 1) -> None:
        self.batch = batch
        self.times = times
        setattr(self, hook, self._press)

    def _press(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.fit_loop.total_batch_idx == self.batch:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
            self.batch = -1
