"""The state of all ranks as one process would have it; each rank has only its own tensors."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from gru_parallel.ranks import Ranks
from gru_parallel.training.optimizer_state import Keys, name_weights, part_for

WHAT = "the outline of all ranks' states, for a checkpoint"


def load_part(module: nn.Module, saved: Mapping[str, Any], strict: bool = True) -> None:
    """Load this rank's part of a whole state.

    Args:
        module: whose weights of other ranks are on the meta device.
        saved: of all ranks; of theirs only the names are looked at.
        strict: whether it must have all names of the module, and no others.

    Raises:
        RuntimeError: as from `load_state_dict`.
    """
    there = {name: value for name, value in module.state_dict().items() if not _is_here(value)}
    # What has no content stands for itself, so that torch finds every name that there is.
    part = {name: there[name] if name in there else saved[name] for name in saved}
    module.load_state_dict(part, strict=strict)


def names_of_all(here: Keys, module: nn.Module, ranks: Ranks) -> Keys:
    """Return the names of all ranks' weights in each group, in the module's order.

    All ranks call this together, each with the names of its weights.
    """
    order = {name: index for index, name in enumerate(name_weights(module).values())}
    groups = zip(*ranks.gather(here, WHAT), strict=True)
    return [sorted(set(chain.from_iterable(group)), key=order.__getitem__) for group in groups]


def whole_optimizer_state(
    here: Mapping[str, Any], module: nn.Module, ranks: Ranks
) -> dict[str, Any]:
    """Return an optimiser's state as one optimiser of all weights would have it.

    Args:
        here: the state of this rank's weights, by name.
        module: whose weights these are.
        ranks: of the run; all of them call this together.

    Returns:
        The whole state, with the tensors of other ranks on the meta device.
    """
    names = names_of_all([group["params"] for group in here["param_groups"]], module, ranks)
    state: dict[str, Any] = {}
    for outline in ranks.gather(tree_map_only(Tensor, _outline, here["state"]), WHAT):
        state |= outline
    state |= here["state"]
    groups = zip(here["param_groups"], names, strict=True)
    whole = [{**settings, "params": of_group} for settings, of_group in groups]
    return part_for(names, {"state": state, "param_groups": whole})


def _is_here(value: Any) -> bool:
    return not (isinstance(value, Tensor) and value.is_meta)


def _outline(value: Tensor) -> Tensor:
    return value.detach().to("meta")
