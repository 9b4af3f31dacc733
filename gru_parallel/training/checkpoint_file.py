"""How a checkpoint becomes a file: as a whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH


class CheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint beside its place, and puts it there once it is whole.

    Lightning writes it into the folder for temporary files and moves it, which between two file
    systems is a copy over the old one: a process killed in the midst of it leaves neither.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; one at a URL as Lightning does.

        Args:
            checkpoint: what to write.
            path: of the file; a folder that is missing is made.
            storage_options: refused, as by Lightning.

        Raises:
            TypeError: there are storage options.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        # Always of the same name, so that what a killed process leaves is written over.
        part = place.with_name(f"{place.name}.part")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
