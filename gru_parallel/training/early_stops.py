"""A run that early stopping has ended stays ended when it is resumed with the same settings."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.trainer.states import TrainerFn

from gru_parallel.training.callbacks_of import callbacks_of

_SETTINGS = (
    "monitor",
    "mode",
    "min_delta",
    "patience",
    "check_finite",
    "stopping_threshold",
    "divergence_threshold",
)
"""What decides when early stopping ends a run."""


class EarlyStops(pl.Callback):
    """Keeps in each checkpoint which early stopping has ended the run.

    Lightning would train on to the next validation, in each resumption. Where the settings of all
    that have ended it differ, the run trains on, with the new ones.

    Attributes:
        have_ended_before: whether the run that is resumed had ended, so that nothing is left.
    """

    def __init__(self) -> None:
        self.have_ended_before = False
        self._settings: dict[str, dict[str, Any]] = {}
        self._saved: dict[str, dict[str, Any]] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Note the settings of this run: a checkpoint brings its patience with it."""
        self._settings = {
            stopping.state_key: {name: getattr(stopping, name) for name in _SETTINGS}
            for stopping in callbacks_of(trainer, EarlyStopping)
        }

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the settings of those that have ended the run."""
        checkpoint["early_stops"] = {
            stopping.state_key: self._settings[stopping.state_key]
            for stopping in callbacks_of(trainer, EarlyStopping)
            if stopping.stopping_reason is not EarlyStoppingReason.NOT_STOPPED
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take them from a checkpoint that training is resumed from."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._saved = checkpoint.get("early_stops", {})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End the run again, or have it train on with the settings of this run."""
        for stopping in callbacks_of(trainer, EarlyStopping):
            settings = self._settings[stopping.state_key]
            stopping.patience = settings["patience"]
            if self._saved.get(stopping.state_key) == settings:
                trainer.should_stop = self.have_ended_before = True
            else:
                stopping.stopping_reason = EarlyStoppingReason.NOT_STOPPED
                stopping.stopping_reason_message = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note that something is left after all: a least number of epochs or steps is."""
        self.have_ended_before = False
