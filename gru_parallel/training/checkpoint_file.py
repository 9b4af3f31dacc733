"""Checkpoints: written as a whole or not at all, and checked when they are read."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH

from gru_parallel.errors import UsageError
from gru_parallel.run_folder import RunFolder
from gru_parallel.training.checkpoint_folder import DamagedError, check_folder, read_folder
from gru_parallel.training.in_place import written_whole


def read_checkpoint(
    file: str | os.PathLike[str] | IO[bytes],
    setting: str = "",
    *,
    weights_only: bool | None = True,
    checks: bool = True,
) -> dict[str, Any]:
    """Open a checkpoint; if it is given by its path, tensors are only read when they are used.

    Args:
        file: its path, of a file or a folder, or an open file.
        setting: that names it, such as "ckpt_path", if there is one.
        weights_only: as in `torch.load`; of a folder, no code is ever run.
        checks: whether its checksums are verified, for which all of it is read once.

    Returns:
        What Lightning keeps, and of this library "config", "module", "plan" (JSON), "rng",
        "saved_at" (seconds since 1970) and "SeriesDataModule" (see `DataRecord`), where the run has
        them. In a folder, "state_dict" and the states in "optimizer_states" are mappings that read
        an entry whenever it is asked for.

    Raises:
        UsageError: it is not there, is not a checkpoint of a run, or is damaged.
    """
    given = f"{setting}={file}" if setting else str(file)
    path = Path(file) if isinstance(file, str | os.PathLike) else None
    if path is not None and not path.exists():
        raise UsageError(
            f"{given} is not there; give the path of a .ckpt file or folder, or leave it out."
        )
    if path is not None and RunFolder(path).checkpoints.is_dir():
        best, last = RunFolder(path).best, RunFolder(path).last
        raise UsageError(
            f"{given} is the folder of a run; give one of its checkpoints, such as"
            f" {best if best.exists() else last}."
        )
    try:
        if path is not None and path.is_dir():
            if checks:
                check_folder(path)
            saved = read_folder(path)
        else:
            if checks:
                _check_file(file)
            saved = torch.load(
                file, map_location="cpu", weights_only=weights_only, mmap=path is not None
            )
        saved["state_dict"]
    except Exception as error:  # damaged bytes make zipfile, pickle and torch raise almost anything
        reason = (
            str(error) if isinstance(error, DamagedError) else f"{type(error).__name__} when read"
        )
        raise UsageError(
            f"{given} is damaged, or not a checkpoint of a run ({reason}); give another .ckpt file"
            " from the checkpoints folder of a run."
        ) from error
    return saved


def _check_file(file: Any) -> None:
    """Verify the checksum of every record of the zip file that `torch.save` writes."""
    with zipfile.ZipFile(file) as records:
        damaged = records.testzip()
    if hasattr(file, "seek"):
        file.seek(0)
    if damaged is not None:
        raise DamagedError(f"the checksum of {damaged} differs")


class CheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint as one file, under another name until it is complete.

    Lightning writes it into the folder for temporary files and moves it, which between two file
    systems is a copy over the old one: a process killed meanwhile leaves neither.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; at a URL as Lightning does.

        Args:
            checkpoint: what to write.
            path: of the file; a missing folder is created. What was there is kept as the one
                before, see `one_before`.
            storage_options: refused, as Lightning does.

        Raises:
            OSError: it cannot be written; the message names the file.
            TypeError: there are storage options.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with written_whole(Path(path)) as part, part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
