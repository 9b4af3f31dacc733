"""The state of an optimiser in a checkpoint: by the names of weights, not by their numbers.

The names are those of the module's state dict, so those of `nn.GRU`: what a checkpoint says does
not depend on how many weights an optimiser has, or in which order.
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
    return {weight: names.get(weight, own) for own, weight in module.named_parameters()}


def names_in(optimizer: Optimizer, module: nn.Module) -> Keys:
    """Return the names of an optimiser's weights; one that is not of the module has a number."""
    names, numbers = name_weights(module), count()
    return [
        [
            names.get(weight, number)
            for weight, number in zip(group["params"], numbers, strict=False)
        ]
        for group in optimizer.param_groups
    ]


def is_by_name(state: Mapping[str, Any]) -> bool:
    """Whether a state is by names; in checkpoints of earlier versions it is not."""
    return any(isinstance(key, str) for group in state["param_groups"] for key in group["params"])


def by_name(state: Mapping[str, Any], names: Keys) -> dict[str, Any]:
    """Put names in the place of the numbers of an optimiser's state dict."""
    numbers = chain.from_iterable(group["params"] for group in state["param_groups"])
    name_of = dict(zip(numbers, chain.from_iterable(names), strict=True))
    groups = zip(state["param_groups"], names, strict=True)
    return {
        "state": {name_of.get(number, number): kept for number, kept in state["state"].items()},
        "param_groups": [{**settings, "params": list(own)} for settings, own in groups],
    }


def part_for(names: Keys, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Take from a state by names what is for some of its weights, in their order.

    Torch loads what this returns: it goes by the order of the weights, whatever they are called.

    Raises:
        UsageError: the state is of an optimiser that lacks one of the weights.
    """
    groups = list(zip(saved["param_groups"], names, strict=True))
    for place, (settings, own) in enumerate(groups):
        for name in own:
            if name not in settings["params"]:
                raise UsageError(
                    f"The checkpoint's optimiser has no weight {name} in its group {place}, and"
                    " this run's has; train the weights that it trained, in the same groups, or"
                    " begin a new run with its weights: init_from=..."
                )
    state = saved["state"]
    return {
        "state": {name: state[name] for name in chain.from_iterable(names) if name in state},
        "param_groups": [{**settings, "params": list(own)} for settings, own in groups],
    }
