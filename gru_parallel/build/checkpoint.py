"""Checks, before the run, that a checkpoint to go on from fits the run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from gru_parallel.data import SeriesDataModule
from gru_parallel.errors import UsageError
from gru_parallel.training import SeriesModule

_REMEDY = "as in the config.yaml of the run that wrote it"


def check_checkpoint(path: Path, module: SeriesModule, data: SeriesDataModule) -> None:
    """Check that the checkpoint to go on from exists, and fits the model, the optimiser, the data.

    Raises:
        UsageError: it does not; names the first entry that differs.
    """
    saved = _read(path)
    _check_weights(path, saved["state_dict"], module)
    _check_optimizer(path, saved.get("optimizer_states", []), module)
    loaders = saved.get("loops", {}).get("fit_loop", {}).get("state_dict", {})
    for place in loaders.get("combined_loader", []):
        # Refuses a place in the middle of an epoch of other batches.
        data.train_dataloader().load_state_dict(place)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"ckpt_path={path} is no file; give the path of a .ckpt file.")
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        saved["state_dict"]
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, KeyError, TypeError) as error:
        raise UsageError(
            f"ckpt_path={path} is no checkpoint of a run ({type(error).__name__} when read); give a"
            " .ckpt file from the checkpoints folder of a run."
        ) from error
    return saved


def _check_weights(path: Path, saved: dict[str, Any], module: SeriesModule) -> None:
    unfit = f"ckpt_path={path} does not fit the model:"
    remedy = f"set model.* and data.* {_REMEDY}."
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


def _check_optimizer(path: Path, saved: list[dict[str, Any]], module: SeriesModule) -> None:
    """Check that the checkpoint has every argument of this run's optimiser."""
    for state in saved:
        optimizer = module.make_optimizer(list(module.model.parameters()))
        # Through the optimiser, which adds what came with a later version of torch.
        optimizer.load_state_dict({"state": {}, "param_groups": state["param_groups"]})
        for name in optimizer.defaults:
            if any(name not in group for group in optimizer.param_groups):
                raise UsageError(
                    f"ckpt_path={path} does not fit optimizer._target_={_path_of(optimizer)}:"
                    f" it has no {name}; choose the optimizer {_REMEDY}."
                )


def _path_of(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
