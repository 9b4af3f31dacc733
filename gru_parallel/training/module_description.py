"""What a checkpoint says of the module that wrote it, and the arguments to make such a one again.

Nothing that a file names is run: the classes are this library's and torch's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch.optim import Optimizer

from gru_parallel.errors import UsageError
from gru_parallel.model import LOSSES, StackModel, SumLoss, describe, model_from
from gru_parallel.training.checkpoint_file import read_checkpoint

_WHAT = {
    "model": "encoder and head are not all of gru_parallel",
    "loss": "the loss is none of gru_parallel",
    "make_optimizer": "the optimiser is none of torch.optim",
}
"""Why an argument cannot be told from a checkpoint."""


def describe_module(model: StackModel, loss: SumLoss, seed: int) -> dict[str, Any]:
    """Describe a module in plain values; what cannot be described is None."""
    is_known = LOSSES.get(loss.name) is loss
    return {"model": describe(model), "loss": loss.name if is_known else None, "seed": seed}


def arguments_from(
    path: Any, given: Mapping[str, Any], *, weights_only: bool | None = True
) -> dict[str, Any]:
    """Return the arguments of a module that a checkpoint can tell, and those that are given.

    Args:
        path: of the checkpoint, or an open file.
        given: arguments, which count for more.
        weights_only: as in `torch.load`.

    Raises:
        UsageError: the checkpoint cannot tell one that is needed, and it is not given.
    """
    if given.keys() >= _WHAT.keys():
        return dict(given)
    saved = read_checkpoint(path, weights_only=weights_only)
    if hasattr(path, "seek"):
        path.seek(0)
    described: Mapping[str, Any] = saved.get("module", {})
    arguments = {
        "loss": LOSSES.get(described.get("loss") or ""),
        "make_optimizer": _optimizer_maker(saved.get("beginning")),
        "seed": described.get("seed", 0),
    } | dict(given)
    if "model" not in given:
        model = described.get("model")
        arguments["model"] = None if model is None else model_from(model)
    for name, reason in _WHAT.items():
        if arguments[name] is None:
            raise UsageError(
                f"{path} does not tell how to make the module's {name}: {reason}, or it was written"
                f" by an earlier version. Give it: SeriesModule.load_from_checkpoint(path,"
                f" {name}=...)."
            )
    return arguments


def _optimizer_maker(beginning: Mapping[str, Any] | None) -> Any:
    """Return what makes an optimiser of torch's own; None for any other."""
    module, _, name = str((beginning or {}).get("optimizer", "")).rpartition(".")
    kind = getattr(torch.optim, name, None)
    if beginning is None or not isinstance(kind, type) or not issubclass(kind, Optimizer):
        return None
    if kind.__module__ != module:
        return None
    # An optimiser keeps what it has derived among its defaults, as AdamW does.
    takes = signature(kind).parameters
    arguments = {key: value for key, value in beginning["arguments"].items() if key in takes}
    return partial(kind, **arguments)
