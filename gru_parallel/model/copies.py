"""Deep copies of modules that have computed with weights which are made of others."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def deep_copy(module: Module, memo: dict[int, Any], **instead: Any) -> Module:
    """Copy a module as `copy.deepcopy` does, also after a forward with gradients.

    A parametrized or pruned `nn.GRU` keeps what it has computed with, which is part of a graph, and
    torch refuses to copy that. A copy computes its own before it is used.

    Args:
        module: to copy.
        memo: of `copy.deepcopy`.
        instead: attributes that the copy has in the place of the module's.
    """
    for gru in (part for part in module.modules() if isinstance(part, nn.GRU)):
        own = (vars(gru).get(name) for name in gru._flat_weights_names)
        for weight in (*own, *gru._flat_weights):
            if isinstance(weight, Tensor) and not weight.is_leaf:
                memo[id(weight)] = weight.detach().clone()
    twin = module.__new__(type(module))
    memo[id(module)] = twin
    # Compiled code is not copied, as torch does not.
    state = {key: value for key, value in vars(module).items() if key != "_compiled_call_impl"}
    vars(twin).update(deepcopy(state | instead, memo))
    return twin
