"""The state of all ranks together, as one process would have it: for checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gru_parallel.ranks import Ranks

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


@dataclass(frozen=True)
class Numbering:
    """How the weights of all ranks are numbered in the state of one optimiser over all of them.

    Attributes:
        groups: for each of its groups of weights, their places among the model's weights.
    """

    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def agree(cls, optimizer: Optimizer, model: nn.Module, ranks: Ranks) -> Numbering:
        """Number the weights; all ranks call this together."""
        own = _places_by_group(optimizer, model)
        everyone = ranks.gather(own, WHAT)
        groups: list[set[int]] = [set() for _ in own]
        for of_rank in everyone:
            for group, places in zip(groups, of_rank, strict=True):
                group |= set(places)
        return cls(tuple(tuple(sorted(group)) for group in groups))

    def numbers(self) -> dict[int, int]:
        """Map a weight's place in the model to its number in the optimiser."""
        in_order = [place for group in self.groups for place in group]
        return {place: number for number, place in enumerate(in_order)}


def whole_optimizer_state(
    optimizer: Optimizer, model: nn.Module, ranks: Ranks, members: Sequence[int]
) -> dict[str, Any]:
    """Bring an optimiser's state together on rank 0, as one optimiser over all weights has it.

    Args:
        optimizer: of this rank's weights.
        model: whose weights these are.
        ranks: of the run; all of them call this together.
        members: the ranks that have the whole state between them, rank 0 first.

    Returns:
        The whole state on rank 0, on the CPU; elsewhere something with the rank's own part.
    """
    numbering = Numbering.agree(optimizer, model, ranks)
    numbers = numbering.numbers()
    saved = optimizer.state_dict()
    places = [place for group in _places_by_group(optimizer, model) for place in group]
    state = {
        numbers[places[index]]: {key: _on_cpu(value) for key, value in of_weight.items()}
        for index, of_weight in saved["state"].items()
    }
    own = dict(state)
    for part in _parts(own, ranks, members):
        state |= part
    groups = [
        {**settings, "params": [numbers[place] for place in group]}
        for settings, group in zip(saved["param_groups"], numbering.groups, strict=True)
    ]
    return {"state": dict(sorted(state.items())), "param_groups": groups}


def load_own_optimizer_state(
    optimizer: Optimizer, model: nn.Module, ranks: Ranks, saved: Mapping[str, Any]
) -> None:
    """Load the part of a whole optimiser's state that is this rank's; all ranks together."""
    numbers = Numbering.agree(optimizer, model, ranks).numbers()
    by_group = _places_by_group(optimizer, model)
    places = [place for group in by_group for place in group]
    own_index = {place: index for index, place in enumerate(places)}
    # Copies: what is read from a file may be written over while the run goes on.
    state = {
        own_index[place]: {
            key: value.clone() if isinstance(value, Tensor) else value
            for key, value in saved["state"][numbers[place]].items()
        }
        for place in places
        if numbers[place] in saved["state"]
    }
    groups = [
        {**settings, "params": [own_index[place] for place in group]}
        for settings, group in zip(saved["param_groups"], by_group, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _parts(own: Any, ranks: Ranks, members: Sequence[int]) -> Iterator[Any]:
    """Hand every member's part to rank 0, one after the other."""
    for member in members[1:]:
        if ranks.is_first:
            yield ranks.receive(member, WHAT)
        elif ranks.rank == member:
            ranks.send(own, 0, WHAT)


def _places_by_group(optimizer: Optimizer, model: nn.Module) -> list[list[int]]:
    places = {weight: place for place, weight in enumerate(model.parameters())}
    return [[places[weight] for weight in group["params"]] for group in optimizer.param_groups]


def _is_here(value: Any) -> bool:
    return not (isinstance(value, Tensor) and value.is_meta)


def _on_cpu(value: Any) -> Any:
    return value.detach().cpu() if isinstance(value, Tensor) else value
