"""Checkpoints keep the states of the global random generators, from which a resumed run draws on.

Nothing of this library draws from them, but callbacks and models of users may.
"""

from __future__ import annotations

import random
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn

from gru_parallel.training.strategy import PipelineStrategy


class RandomState(pl.Callback):
    """Keeps the states of torch, numpy and Python, those of each rank, and restores them.

    A rank that the checkpoint's run did not have keeps its own. It has to come before all others
    that may draw.
    """

    def __init__(self) -> None:
        self._saved: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the states of all ranks."""
        here = _states()
        strategy = trainer.strategy
        checkpoint["rng"] = (
            strategy.gather_objects(here, "the random states of all ranks, for a checkpoint")
            if isinstance(strategy, PipelineStrategy)
            else [here]
        )

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take this rank's states from a checkpoint that training is resumed from."""
        if trainer.state.fn == TrainerFn.FITTING:
            of_rank = dict(enumerate(checkpoint.get("rng", [])))
            self._saved = of_rank.get(trainer.global_rank)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore them where the run begins with an epoch: what comes before may draw, too."""
        self._restore_once()

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Restore them where the run begins within an epoch."""
        self._restore_once()

    def _restore_once(self) -> None:
        if self._saved is not None:
            _restore(self._saved)
            self._saved = None


def _states() -> dict[str, Any]:
    of_numpy = np.random.get_state(legacy=False)
    # Plain values, which load without running code.
    of_numpy["state"]["key"] = of_numpy["state"]["key"].tolist()
    states = {
        "torch": torch.get_rng_state(),
        "numpy": of_numpy,
        "python": random.getstate(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _restore(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
    cuda = states.get("cuda", [])
    if torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
