"""The state of all ranks together, as one process would have it: for checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from gru_parallel.ranks import Ranks
from gru_parallel.training.optimizer_state import Keys, name_weights, part_for

WHAT = "the state of all ranks, for a checkpoint"


def whole_state_dict(module: nn.Module, ranks: Ranks, members: Sequence[int]) -> dict[str, Any]:
    """Bring a module's state together on rank 0.

    Args:
        module: its weights that other ranks have are on the meta device.
        ranks: of the run; all members call this together.
        members: the ranks that have the whole state between them, rank 0 first.

    Returns:
        The whole state on rank 0, on the CPU; elsewhere the rank's own part.
    """
    own = {name: _on_cpu(value) for name, value in module.state_dict().items() if _is_here(value)}
    found = dict(own)
    for part in _parts(own, ranks, members):
        found |= part
    return {name: found[name] for name in module.state_dict() if name in found}


def load_own_state(module: nn.Module, saved: Mapping[str, Any]) -> None:
    """Load the part of a whole state that is this rank's.

    Raises:
        RuntimeError: as from `load_state_dict`.
    """
    own = {name for name, value in module.state_dict().items() if _is_here(value)}
    module.load_state_dict({name: saved[name] for name in own if name in saved}, strict=False)


def names_of_all(own: Keys, module: nn.Module, ranks: Ranks) -> Keys:
    """Return the names of all ranks' weights in each group, in the module's order.

    All ranks call this together, each with the names of its own.
    """
    place = {name: place for place, name in enumerate(name_weights(module).values())}
    groups = zip(*ranks.gather(own, WHAT), strict=True)
    return [sorted(set(chain.from_iterable(group)), key=place.__getitem__) for group in groups]


def whole_optimizer_state(
    own: Mapping[str, Any], module: nn.Module, ranks: Ranks, members: Sequence[int]
) -> dict[str, Any]:
    """Bring an optimiser's state together on rank 0, as one optimiser over all weights has it.

    Args:
        own: the state of this rank's weights, by name.
        module: whose weights these are.
        ranks: of the run; all of them call this together.
        members: the ranks that have the whole state between them, rank 0 first.

    Returns:
        The whole state on rank 0, on the CPU; elsewhere something with the rank's own part.
    """
    names = names_of_all([group["params"] for group in own["param_groups"]], module, ranks)
    state = tree_map_only(Tensor, _on_cpu, own["state"])
    for part in _parts(state, ranks, members):
        state |= part
    groups = zip(own["param_groups"], names, strict=True)
    whole = [{**settings, "params": of_group} for settings, of_group in groups]
    return part_for(names, {"state": state, "param_groups": whole})


def _parts(own: Any, ranks: Ranks, members: Sequence[int]) -> Iterator[Any]:
    """Hand every member's part to rank 0, one after the other."""
    for member in members[1:]:
        if ranks.is_first:
            yield ranks.receive(member, WHAT)
        elif ranks.rank == member:
            ranks.send(own, 0, WHAT)


def _is_here(value: Any) -> bool:
    return not (isinstance(value, Tensor) and value.is_meta)


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value
