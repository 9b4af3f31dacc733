"""Keeps the settings of a run in its checkpoints."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl


class ConfigInCheckpoint(pl.Callback):
    """Keeps the settings of a run in its checkpoints, under "config".

    Args:
        config: plain values.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the settings into a checkpoint."""
        del trainer, pl_module
        checkpoint["config"] = self.config
