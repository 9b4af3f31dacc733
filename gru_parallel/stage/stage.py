"""A stage: the blocks of one device, and what stays with them from batch to batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, chain, pairwise
from typing import cast

import torch
from torch import Tensor, nn

from gru_parallel.model import Block
from gru_parallel.model.autocast import flatten
from gru_parallel.model.core.run import can_tape
from gru_parallel.model.head import Head
from gru_parallel.stage.joined_blocks import joined
from gru_parallel.stage.lane import Lane
from gru_parallel.stage.own_code import has_own_forward
from gru_parallel.stage.pieces import has_hooks
from gru_parallel.stage.second_device import SecondDevice


@dataclass(frozen=True)
class BlockGroup:
    """Consecutive blocks of a stage that run as one section.

    Attributes:
        blocks: that are called: a bidirectional one is alone; one that starts from the h_n of the
            block before is the first.
        slices: for each block, which states of the stage are its own.
        weights: what the blocks are trained by.
        is_own: whether a block computes by a class of the caller's own.
        can_tape: whether a tape can take all that B of the blocks needs.
        gives_state: whether what comes next starts from the h_n of the last block.
    """

    blocks: tuple[Block, ...]
    slices: tuple[slice, ...]
    weights: list[Tensor]
    is_own: bool
    can_tape: bool
    gives_state: bool


@dataclass(frozen=True)
class StageModules:
    """What a stage runs.

    Attributes:
        encoder: only on the first stage, if there is one.
        blocks: the consecutive blocks of the stage.
        states: for each block, where its states are in h_0 and h_n of the whole stack.
        head: only on the last stage, if there is one.
        gives_state: whether the next stage starts from the h_n of this one's last block.
        carries: whether a block of the stack starts from where the batch before left it.
    """

    encoder: nn.Module | None
    blocks: tuple[Block, ...]
    states: tuple[slice, ...]
    head: Head | None
    gives_state: bool = False
    carries: bool = False

    @cached_property
    def state_slice(self) -> slice:
        """Where the states of the stage's blocks are in h_0 and h_n of the whole stack."""
        return slice(self.states[0].start, self.states[-1].stop)

    @property
    def n_states(self) -> int:
        """States of the stage's blocks."""
        return int(self.states[-1].stop - self.states[0].start)

    @cached_property
    def is_barrier(self) -> bool:
        """Whether a block of the stage is a barrier in time."""
        return any(block.is_barrier for block in self.blocks)

    @cached_property
    def groups(self) -> tuple[BlockGroup, ...]:
        """The blocks, cut before and after each barrier in time."""
        groups: list[list[Block]] = []
        for block in self.blocks:
            if groups and not block.is_barrier and groups[-1][0].n_directions == 1:
                groups[-1].append(block)
            else:
                groups.append([block])
        after = [*(group[0].h_0 == "previous" for group in groups[1:]), self.gives_state]
        are_own = [any(map(has_own_forward, group)) for group in groups]
        called = [
            tuple(group) if is_own else joined(group, last_alone=gives_state)
            for group, is_own, gives_state in zip(groups, are_own, after, strict=True)
        ]
        ends = accumulate((block.n_states for block in chain(*called)), initial=0)
        slices = iter([slice(first, stop) for first, stop in pairwise(ends)])
        return tuple(
            BlockGroup(
                blocks,
                tuple(next(slices) for _ in blocks),
                [weight for block in blocks for weight in block.weights()],
                is_own,
                not is_own and all(map(_can_tape, blocks)),
                gives_state,
            )
            for blocks, is_own, gives_state in zip(called, are_own, after, strict=True)
        )

    @property
    def grus(self) -> Iterator[nn.GRU]:
        """Each `nn.GRU` that is called."""
        return (gru for group in self.groups for block in group.blocks for gru in block.gru_parts)

    @property
    def all_modules(self) -> list[nn.Module]:
        """Encoder, head and blocks, as far as the stage has them."""
        ends = [module for module in (self.encoder, self.head) if module is not None]
        return [*ends, *self.blocks]

    def weights(self) -> list[Tensor]:
        """Return what the stage is trained by, in the order of the data."""
        encoder, head = (list(m.parameters()) if m else [] for m in (self.encoder, self.head))
        return [*encoder, *(w for group in self.groups for w in group.weights), *head]


@dataclass
class Stage:
    """The consecutive blocks that one device runs.

    Attributes:
        index: of the stage.
        name: of its device.
        modules: what it runs; an engine renews them at each call.
        lane: of its device.
        is_last: whether no stage comes after it.
        second_device: that of the reverse direction of bidirectional blocks; None for its own.
        is_first: whether the stage reads the batch itself.
        carried: by use (training or prediction), the states in which the last batch left the
            blocks, shape (n_states, batch, hidden_size), if any block carries.
    """

    index: int
    name: str
    modules: StageModules
    lane: Lane
    is_last: bool = True
    second_device: SecondDevice | None = None
    carried: dict[str, Tensor] = field(default_factory=dict)
    is_first: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_first = self.index == 0

    @property
    def devices(self) -> list[torch.device]:
        """The stage's device, and that of the reverse direction where it is another."""
        second = self.second_device
        return [self.lane.device, *([] if second is None else [second.lane.device])]

    def carry(self, states: Mapping[str, Tensor]) -> None:
        """Start the next batch from these states.

        Args:
            states: by use, over all blocks of the stack, shape (n_states, batch, hidden_size).
        """
        # Copies: a checkpoint's states may lie in its file.
        states_here = self.modules.state_slice
        self.carried = {
            use: whole[states_here].to(self.lane.device, copy=True) for use, whole in states.items()
        }

    def place(self, modules: StageModules) -> None:
        """Move modules to the stage's device, and those of the reverse direction to theirs."""
        for module in modules.all_modules:
            put_on(module, self.lane.device)
        for block in modules.blocks:
            if self.second_device is not None:
                for part in block.reverse_parts:
                    put_on(part, self.second_device.lane.device)
            if block.some_weight.dtype == torch.bfloat16:
                # Others were made flat when they were moved.
                for part in block.gru_parts:
                    flatten(part, cast("list[Tensor]", part._flat_weights))


def _can_tape(block: Block) -> bool:
    # A tape knows neither norms nor residuals; a hook may compute, and want autograd to know.
    hooks = (block._forward_hooks, block._forward_pre_hooks)
    is_watched = any(hooks) or has_hooks(block)
    can_leave_autograd = block.is_plain and not is_watched
    return can_leave_autograd and all(can_tape(part, block.core) for part in block.gru_parts)


def put_on(module: nn.Module, device: torch.device) -> None:
    """Move a module, if it is not there."""
    # A GRU that is moved asks its parametrizations for its weights, which can change them.
    if any(tensor.device != device for tensor in (*module.parameters(), *module.buffers())):
        module.to(device)
