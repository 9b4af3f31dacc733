"""The state of an optimiser in a checkpoint: by the names of weights, not by their numbers.

The names are those of the module's state dict, so those of `nn.GRU`: what a checkpoint says does
not depend on how many weights an optimiser has, nor on their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count, zip_longest
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
    """Replace the numbers in an optimiser's state by names; one by names stays as it is.

    Args:
        state: of an optimiser, as torch writes it, or with names in the place of its numbers.
        names: of the weights of this run, in the groups and the order of its optimiser.

    Raises:
        UsageError: the state is of an optimiser of other weights, or of other groups of them.
    """
    groups = [group["params"] for group in state["param_groups"]]
    numbers = list(chain.from_iterable(groups))
    if any(isinstance(number, str) for number in numbers):
        if list(map(set, groups)) != list(map(set, names)):
            raise _refused(groups, names)
        return dict(state)
    if list(map(len, groups)) != list(map(len, names)):
        raise _refused(groups, names)
    name_of = dict(zip(numbers, chain.from_iterable(names), strict=True))
    named = {name_of.get(number, number): kept for number, kept in state["state"].items()}
    return {"state": named, "param_groups": _grouped(state, names)}


def part_for(names: Keys, state: Mapping[str, Any]) -> dict[str, Any]:
    """Take the part of a state by names that belongs to some weights, in their order.

    torch can load it: it goes by the order of the weights, whatever their names.
    """
    kept = state["state"]
    part = {name: kept[name] for name in chain.from_iterable(names) if name in kept}
    return {"state": part, "param_groups": _grouped(state, names)}


def _refused(saved: Keys, names: Keys) -> UsageError:
    before, now = (", ".join(str(len(group)) for group in groups) for groups in (saved, names))
    moved = {
        name
        for old, new in zip_longest(saved, names, fillvalue=())
        for name in set(old).symmetric_difference(new)
        if isinstance(name, str)
    }
    example = f" (for instance {min(moved)} is not in the same group)" if moved else ""
    return UsageError(
        f"The checkpoint's optimiser has groups of {before} weights and this run's groups of {now}"
        f"{example}; train the weights that it trained, in the same groups, or begin a new run with"
        " its weights: init_from=..."
    )


def _grouped(state: Mapping[str, Any], names: Keys) -> list[dict[str, Any]]:
    groups = zip(state["param_groups"], names, strict=True)
    return [{**settings, "params": list(group)} for settings, group in groups]
