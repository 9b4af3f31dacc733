"""What a checkpoint says about its module, and the arguments that create the module again.

No code that a file names is run: the classes are those of this library and of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from inspect import signature
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel, SumLoss, describe, model_from
from gru_parallel.model.loss import POINT
from gru_parallel.model.output import is_known, loss_named

_WHAT = {
    "model": "encoder or head is not of gru_parallel",
    "loss": "the loss is not one of gru_parallel",
    "make_optimizer": "the optimiser is not one of torch.optim",
}
"""Why an argument is not in a checkpoint."""


def describe_module(
    model: StackModel, loss: SumLoss, seed: int, weight_decay_on: str
) -> dict[str, Any]:
    """Describe a module in plain values; what cannot be described is None."""
    return {
        "model": describe(model),
        "loss": loss.name if is_known(loss) else None,
        "seed": seed,
        "weight_decay_on": weight_decay_on,
    }


def arguments_from(saved: Mapping[str, Any], given: Mapping[str, Any], path: Any) -> dict[str, Any]:
    """Return the arguments of a module that a checkpoint has, and those that are given.

    Args:
        saved: the checkpoint.
        given: arguments, which take precedence.
        path: of the checkpoint, for a message.

    Raises:
        UsageError: the checkpoint lacks one that is needed and not given.
    """
    described: Mapping[str, Any] = saved.get("module", {})
    arguments = {
        "make_optimizer": _optimizer_maker(saved.get("beginning")),
        "seed": described.get("seed", 0),
        "weight_decay_on": described.get("weight_decay_on", "all"),
    } | dict(given)
    if "model" not in given:
        model = described.get("model")
        arguments["model"] = None if model is None else model_from(model)
    if "loss" not in given:
        output = getattr(arguments["model"], "output", POINT)
        arguments["loss"] = loss_named(described.get("loss") or "", output)
    for name, reason in _WHAT.items():
        if arguments[name] is None:
            raise UsageError(
                f"{path} does not tell how to create the module's {name}: {reason}, or it was"
                f" written by another module or an earlier version. Give it:"
                f" SeriesModule.load_from_checkpoint(path, {name}=...)."
            )
    return arguments


def _optimizer_maker(beginning: Mapping[str, Any] | None) -> Any:
    """Return what creates an optimiser of torch; None for any other."""
    module, _, name = str((beginning or {}).get("optimizer", "")).rpartition(".")
    kind = getattr(torch.optim, name, None)
    if beginning is None or not isinstance(kind, type) or not issubclass(kind, Optimizer):
        return None
    if kind.__module__ != module:
        return None
    # An optimiser, such as AdamW, keeps what it has derived among its defaults.
    takes = signature(kind).parameters
    arguments = {key: value for key, value in beginning["arguments"].items() if key in takes}
    return partial(kind, **arguments)


def for_lightning(path: Any, saved: Mapping[str, Any]) -> Any:
    """Return what Lightning can read a checkpoint from: a file, even if the checkpoint is a folder.

    Args:
        path: of the checkpoint, or an open file, which has been read.
        saved: what is in it.
    """
    if hasattr(path, "seek"):
        path.seek(0)
        return path
    if not Path(path).is_dir():
        return path
    file = BytesIO()
    needed = {name: value for name, value in saved.items() if name != "optimizer_states"}
    torch.save({**needed, "state_dict": dict(saved["state_dict"])}, file)
    file.seek(0)
    return file
