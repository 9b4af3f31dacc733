"""Reads a checkpoint before the run, and checks that its weights fit the model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from gru_parallel.errors import UsageError
from gru_parallel.training import SeriesModule

REMEDY = "as in the config.yaml of the run that wrote it"


def read_checkpoint(setting: str, path: Path) -> dict[str, Any]:
    """Open a checkpoint; its tensors are read when they are used.

    Args:
        setting: which names it, such as "ckpt_path".
        path: of the file.

    Raises:
        UsageError: it is no checkpoint of a run.
    """
    if not path.is_file():
        raise UsageError(
            f"{setting}={path} is no file; give the path of a .ckpt file, or leave it out."
        )
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        saved["state_dict"]
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, KeyError, TypeError) as error:
        raise UsageError(
            f"{setting}={path} is no checkpoint of a run ({type(error).__name__} when read); give a"
            " .ckpt file from the checkpoints folder of a run."
        ) from error
    return saved


def check_weights(what: str, saved: dict[str, Any], module: SeriesModule) -> None:
    """Check that a checkpoint has all weights of the model and no others.

    Args:
        what: setting and path of the checkpoint.
        saved: its weights by name.
        module: of the run.

    Raises:
        UsageError: names the first entry that differs.
    """
    unfit = f"{what} does not fit the model:"
    remedy = f"set model.* and data.* {REMEDY}."
    for name, own in module.state_dict().items():
        if name not in saved:
            raise UsageError(f"{unfit} it has no {name}; {remedy}")
        if saved[name].shape != own.shape:
            raise UsageError(
                f"{unfit} {name} has shape {tuple(saved[name].shape)} in it, {tuple(own.shape)} in"
                f" the model; {remedy}"
            )
    extra = sorted(set(saved) - set(module.state_dict()))
    if extra:
        raise UsageError(f"{unfit} the model has no {extra[0]}; {remedy}")
