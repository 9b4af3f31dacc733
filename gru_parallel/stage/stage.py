"""A stage: the blocks of one device, and what stays with them from batch to batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gru_parallel.model import Block
from gru_parallel.model.head import Head
from gru_parallel.stage.lane import Lane
from gru_parallel.stage.second_device import SecondDevice


@dataclass(frozen=True)
class StageModules:
    """What a stage runs.

    Attributes:
        encoder: only on the first stage, if there is one.
        blocks: the consecutive blocks of the stage.
        states: for each block, where its states stand in h_0 and h_n of the whole stack.
        head: only on the last stage, if there is one.
        gives_state: whether the next stage starts from the h_n of this one's last block.
        carries: whether a block of the stack goes on from where the batch before left it.
    """

    encoder: nn.Module | None
    blocks: tuple[Block, ...]
    states: tuple[slice, ...]
    head: Head | None
    gives_state: bool = False
    carries: bool = False

    @property
    def n_states(self) -> int:
        """States of the stage's blocks."""
        return int(self.states[-1].stop - self.states[0].start)

    @property
    def is_barrier(self) -> bool:
        """Whether a block of the stage is a barrier in time."""
        return any(block.is_barrier for block in self.blocks)

    @property
    def all_modules(self) -> list[nn.Module]:
        """Encoder, head and blocks, as far as the stage has them."""
        ends = [module for module in (self.encoder, self.head) if module is not None]
        return [*ends, *self.blocks]

    def weights(self) -> list[Tensor]:
        """Return what the stage is trained by, in the order of the data."""
        ends = [list(m.parameters()) for m in (self.encoder, self.head) if m is not None]
        of_blocks: list[Tensor] = [w for block in self.blocks for w in block.weights()]
        if self.encoder is None:
            return [*of_blocks, *(w for end in ends for w in end)]
        return [*ends[0], *of_blocks, *(w for end in ends[1:] for w in end)]


@dataclass
class Stage:
    """The consecutive blocks that one device runs.

    Attributes:
        index: of the stage.
        name: of its device.
        modules: what it runs; an engine renews them at each call.
        lane: of its device.
        is_last: whether no stage comes after it.
        assistant: the device of the reverse direction of bidirectional blocks; None for its own.
        carried: by use (training or prediction), the states in which the last batch left the
            blocks, shape (n_states, batch, hidden_size), if any block carries.
    """

    index: int
    name: str
    modules: StageModules
    lane: Lane
    is_last: bool = True
    assistant: SecondDevice | None = None
    carried: dict[str, Tensor] = field(default_factory=dict)

    @property
    def is_first(self) -> bool:
        """Whether the stage reads the batch itself."""
        return self.index == 0

    def carry(self, states: Mapping[str, Tensor]) -> None:
        """Go on from these states.

        Args:
            states: by use, over all blocks of the stack, shape (n_states, batch, hidden_size).
        """
        own = slice(self.modules.states[0].start, self.modules.states[-1].stop)
        # Copies: a checkpoint's states may lie in its file.
        self.carried = {
            use: whole[own].to(self.lane.device, copy=True) for use, whole in states.items()
        }

    def place(self, modules: StageModules) -> None:
        """Move modules to the stage's device, and those of the reverse direction to theirs."""
        for module in modules.all_modules:
            put_on(module, self.lane.device)
        if self.assistant is None:
            return
        for block in modules.blocks:
            for part in block.reverse_parts:
                put_on(part, self.assistant.lane.device)


def put_on(module: nn.Module, device: torch.device) -> None:
    """Move a module, if it is not there."""
    # A GRU that is moved asks its parametrizations for its weights, which can change them.
    if any(tensor.device != device for tensor in (*module.parameters(), *module.buffers())):
        module.to(device)
