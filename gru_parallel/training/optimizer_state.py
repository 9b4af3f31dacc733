"""The state of an optimiser in a checkpoint: by the names of weights, not by their numbers.

The names are those of the module's state dict, so those of `nn.GRU`: what a checkpoint says does
not depend on how many weights an optimiser has, nor on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gru_parallel.errors import UsageError

Keys = Sequence[Sequence[Any]]
"""Of the weights of each of an optimiser's groups, in order."""


def name_weights(module: nn.Module) -> dict[Tensor, str]:
    """Map each weight of a module to its name in the module's state dict, in the weights' order."""
    # Shared weights go by the first of their names.
    entries = reversed(module.state_dict(keep_vars=True).items())
    names = {value: name for name, value in entries if isinstance(value, nn.Parameter)}
    return {weight: names.get(weight, name) for name, weight in module.named_parameters()}


def names_in(optimizer: Optimizer, module: nn.Module) -> Keys:
    """Return the names of an optimiser's weights; one that is not of the module has a number."""
    names, numbers = name_weights(module), count()
    groups = (group["params"] for group in optimizer.param_groups)
    return [[names.get(weight, next(numbers)) for weight in group] for group in groups]


def by_name(state: Mapping[str, Any], names: Keys) -> dict[str, Any]:
    """Replace the numbers in an optimiser's state by names; one by names stays as it is."""
    numbers = list(chain.from_iterable(group["params"] for group in state["param_groups"]))
    if any(isinstance(number, str) for number in numbers):
        return dict(state)
    name_of = dict(zip(numbers, chain.from_iterable(names), strict=True))
    named = {name_of.get(number, number): kept for number, kept in state["state"].items()}
    return {"state": named, "param_groups": _grouped(state, names)}


def part_for(names: Keys, state: Mapping[str, Any]) -> dict[str, Any]:
    """Take the part of a state by names that belongs to some weights, in their order.

    torch can load it: it goes by the order of the weights, whatever their names.

    Raises:
        UsageError: the state is of an optimiser that lacks one of the weights.
    """
    for settings, group in zip(state["param_groups"], names, strict=True):
        missing = [name for name in group if name not in settings["params"]]
        if missing:
            raise UsageError(
                f"The checkpoint's optimiser has no weight {missing[0]} in its group, and this"
                " run's has; train the weights that it trained, in the same groups, or begin a new"
                " run with its weights: init_from=..."
            )
    kept = state["state"]
    part = {name: kept[name] for name in chain.from_iterable(names) if name in kept}
    return {"state": part, "param_groups": _grouped(state, names)}


def _grouped(state: Mapping[str, Any], names: Keys) -> list[dict[str, Any]]:
    groups = zip(state["param_groups"], names, strict=True)
    return [{**settings, "params": list(group)} for settings, group in groups]
