"""Checks, before the run, that a checkpoint to go on from fits the model."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from gru_parallel.errors import UsageError
from gru_parallel.training import SeriesModule


def check_checkpoint(path: Path, module: SeriesModule) -> None:
    """Check that the checkpoint to go on from exists and fits the model.

    Raises:
        UsageError: it does not; names the first entry that differs.
    """
    if not path.is_file():
        raise UsageError(f"ckpt_path={path} is no file; give the path of a .ckpt file.")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, KeyError, TypeError) as error:
        raise UsageError(
            f"ckpt_path={path} is no checkpoint of a run ({type(error).__name__} when read); give a"
            " .ckpt file from the checkpoints folder of a run."
        ) from error
    remedy = "set model.* and data.* as in the config.yaml of the run that wrote it"
    for name, own in module.state_dict().items():
        if name not in saved:
            raise UsageError(
                f"ckpt_path={path} does not fit the model: it has no {name}; {remedy}."
            )
        if saved[name].shape != own.shape:
            raise UsageError(
                f"ckpt_path={path} does not fit the model: {name} has shape"
                f" {tuple(saved[name].shape)} in it, {tuple(own.shape)} in the model; {remedy}."
            )
    extra = sorted(set(saved) - set(module.state_dict()))
    if extra:
        raise UsageError(
            f"ckpt_path={path} does not fit the model: the model has no {extra[0]}; {remedy}."
        )
