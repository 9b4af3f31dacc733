"""The state of all ranks as one process would have it, for checkpoints."""

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
    """Gather a module's state on rank 0.

    Args:
        module: weights of other ranks are on the meta device.
        ranks: of the run; all members call this together.
        members: the ranks that together have the whole state, rank 0 first.

    Returns:
        The whole state on rank 0, on the CPU; on other ranks their part.
    """
    here = {name: _on_cpu(value) for name, value in module.state_dict().items() if _is_here(value)}
    found = dict(here)
    for part in _parts(here, ranks, members):
        found |= part
    return {name: found[name] for name in module.state_dict() if name in found}


def load_part(module: nn.Module, saved: Mapping[str, Any]) -> None:
    """Load this rank's part of a whole state.

    Raises:
        RuntimeError: as from `load_state_dict`.
    """
    here = {name for name, value in module.state_dict().items() if _is_here(value)}
    module.load_state_dict({name: saved[name] for name in here if name in saved}, strict=False)


def names_of_all(here: Keys, module: nn.Module, ranks: Ranks) -> Keys:
    """Return the names of all ranks' weights in each group, in the module's order.

    All ranks call this together, each with the names of its weights.
    """
    order = {name: index for index, name in enumerate(name_weights(module).values())}
    groups = zip(*ranks.gather(here, WHAT), strict=True)
    return [sorted(set(chain.from_iterable(group)), key=order.__getitem__) for group in groups]


def whole_optimizer_state(
    here: Mapping[str, Any], module: nn.Module, ranks: Ranks, members: Sequence[int]
) -> dict[str, Any]:
    """Gather an optimiser's state on rank 0, as one optimiser of all weights would have it.

    Args:
        here: the state of this rank's weights, by name.
        module: whose weights these are.
        ranks: of the run; all of them call this together.
        members: the ranks that together have the whole state, rank 0 first.

    Returns:
        The whole state on rank 0, on the CPU; on other ranks something with their part.
    """
    names = names_of_all([group["params"] for group in here["param_groups"]], module, ranks)
    state = tree_map_only(Tensor, _on_cpu, here["state"])
    for part in _parts(state, ranks, members):
        state |= part
    groups = zip(here["param_groups"], names, strict=True)
    whole = [{**settings, "params": of_group} for settings, of_group in groups]
    return part_for(names, {"state": state, "param_groups": whole})


def _parts(here: Any, ranks: Ranks, members: Sequence[int]) -> Iterator[Any]:
    """Send every member's part to rank 0, one after the other."""
    for member in members[1:]:
        if ranks.is_first:
            yield ranks.receive(member, WHAT)
        elif ranks.rank == member:
            ranks.send(here, 0, WHAT)


def _is_here(value: Any) -> bool:
    return not (isinstance(value, Tensor) and value.is_meta)


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value
