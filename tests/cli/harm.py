"""Callbacks and a logger for the command line that harm one rank of a run."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only


class _Harm(pl.Callback):
    """Does something to one rank at the beginning of a batch.

    Args:
        rank: of many.
        batch: of all batches of the training.
        hook: of the callback, at which it is done.
    """

    def __init__(self, rank: int, batch: int, hook: str = "on_train_batch_start") -> None:
        self.rank = rank
        self.batch = batch
        setattr(self, hook, self._do)

    def _do(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.global_rank == self.rank and trainer.fit_loop.total_batch_idx == self.batch:
            self.do()

    def do(self) -> None:
        raise NotImplementedError


class Fail(_Harm):
    """Raises an error."""

    def do(self) -> None:
        raise ValueError("the batch is odd")


class Interrupt(_Harm):
    """Sends the rank a SIGTERM."""

    def do(self) -> None:
        signal.raise_signal(signal.SIGTERM)


class KillOnce(_Harm):
    """Kills the rank, in the launcher's first attempt only."""

    def do(self) -> None:
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)


class Stop(_Harm):
    """Stops the rank."""

    def do(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class Wait(_Harm):
    """Writes a file, and waits until it is gone."""

    def do(self) -> None:
        waits = Path("waits")
        waits.touch()
        while waits.exists():
            time.sleep(0.01)


class NoServer(CSVLogger):
    """A logger that cannot begin, which as with all loggers only the first rank finds out."""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route to host")
