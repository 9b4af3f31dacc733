"""Averages of weights: the test is of those that were validated, and so is every checkpoint."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import WeightAveraging

from gru_parallel.training.callbacks_of import callbacks_of


class AveragesOfWeights(pl.Callback):
    """Does what Lightning's `WeightAveraging` leaves undone.

    That validates the averages, and checkpoints have them as `state_dict`, beside the weights that
    training goes on with. But in the Trainer that has trained, a checkpoint to test gives the model
    the latter; and a checkpoint that is written in a validation, while both are exchanged, has each
    in the other's place. It has to come after the others.
    """

    def __init__(self) -> None:
        self._validates = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record that averages and weights are exchanged."""
        self._validates = True

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record that they are in their places."""
        self._validates = False

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put averages and weights into their places, in a validation too."""
        weights, averages = "current_model_state", "state_dict"
        if self._validates and weights in checkpoint:
            checkpoint[weights], checkpoint[averages] = checkpoint[averages], checkpoint[weights]

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Test the averages, as validations do; the model keeps them."""
        for averaging in callbacks_of(trainer, WeightAveraging):
            averaging.on_validation_epoch_start(trainer, pl_module)
