"""Checkpoints as files: written as a whole or not at all, and read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from gru_parallel.errors import UsageError

_FAULTS = (pickle.UnpicklingError, RuntimeError, OSError, EOFError, KeyError, TypeError)


def read_checkpoint(
    file: str | os.PathLike[str] | IO[bytes], setting: str = "", *, weights_only: bool | None = True
) -> dict[str, Any]:
    """Open a checkpoint; if it is given by its path, tensors are only read when they are used.

    Args:
        file: its path, or an open file.
        setting: that names it, such as "ckpt_path", if there is one.
        weights_only: as in `torch.load`.

    Raises:
        UsageError: it is not a checkpoint of a run.
    """
    given = f"{setting}={file}" if setting else str(file)
    path = Path(file) if isinstance(file, str | os.PathLike) else None
    if path is not None and not path.is_file():
        raise UsageError(f"{given} is not a file; give the path of a .ckpt file, or leave it out.")
    try:
        saved: dict[str, Any] = torch.load(
            file, map_location="cpu", weights_only=weights_only, mmap=path is not None
        )
        saved["state_dict"]
    except _FAULTS as error:
        raise UsageError(
            f"{given} is not a checkpoint of a run ({type(error).__name__} when read); give a .ckpt"
            " file from the checkpoints folder of a run."
        ) from error
    return saved


class CheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint under another name, and renames it once it is complete.

    Lightning writes it into the folder for temporary files and moves it, which between two file
    systems is a copy over the old one: a process killed meanwhile leaves neither.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; at a URL as Lightning does.

        Args:
            checkpoint: what to write.
            path: of the file; a missing folder is created.
            storage_options: refused, as Lightning does.

        Raises:
            OSError: it cannot be written; the message names the file.
            TypeError: there are storage options.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        # Always the same name, so that what a killed process leaves is overwritten.
        part = target.with_name(f"{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except BaseException as error:
            part.unlink(missing_ok=True)
            cause = _system_error(error)
            if cause is None:
                raise
            reason = f"{cause.strerror}; make room or give access; an older one is unchanged"
            raise OSError(cause.errno, reason, str(target)) from error


def _system_error(error: BaseException | None) -> OSError | None:
    """Find the cause of an error: torch raises another one while it closes a file."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error
