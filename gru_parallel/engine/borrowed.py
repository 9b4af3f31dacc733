"""BorrowedStack: stages whose blocks hold the weights of somebody else's module."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gru_parallel.engine.halves import Halves
from gru_parallel.engine.stage import StageModules
from gru_parallel.engine.stages import make_stages
from gru_parallel.model import GRUStack
from gru_parallel.placement.plan import Plan


class BorrowedStack:
    """The pipeline of an `nn.GRU` whose parameters stay its own.

    Args:
        gru: has the weights.
        plan: how its layers are cut and placed.
        in_thread: whether the only stage runs in the caller's own thread.

    Attributes:
        halves: runs the stack.
    """

    def __init__(self, gru: nn.GRU, plan: Plan, *, in_thread: bool) -> None:
        # On no device: the blocks are given the weights of the module.
        self._stack = GRUStack(
            gru.input_size,
            gru.hidden_size,
            gru.num_layers,
            plan.layers_per_block,
            dropout=gru.dropout,
            bias=gru.bias,
            bidirectional=gru.bidirectional,
            device="meta",
        )
        blocks, states = self._stack.gru_blocks, self._stack.state_slices
        ranges = [slice(placed.blocks.start, placed.blocks.stop) for placed in plan.stages]
        modules = [StageModules(None, blocks[own], states[own], None) for own in ranges]
        self._stages = make_stages(plan, modules)
        self._attach(gru)
        self.halves = Halves(plan, self._stages, in_thread=in_thread)
        self.flatten()

    def take_weights(self, gru: nn.GRU) -> None:
        """Use the module's weights of now, each on its stage's device, and its mode."""
        is_new = self._attach(gru)
        if any(weight.device != device for _, _, device, weight in self._weights()):
            self.halves.place()
            is_new = True
        if is_new:
            self.flatten()
        self._stack.train(gru.training)

    def flatten(self) -> None:
        """Put the weights of each call of cuDNN into one piece of memory."""
        for block in self._stack.gru_blocks:
            for part in block.gru_parts:
                part.flatten_parameters()

    def _attach(self, gru: nn.GRU) -> bool:
        """Let the blocks share the module's weights; say whether any is new."""
        is_new = False
        names = iter(self._stack.nn_gru_names().values())
        for part, local, device, held in self._weights():
            weight = getattr(gru, next(names))
            if held is weight:
                continue
            is_new = True
            # What takes a parameter's place (a parametrization, functional_call) is none itself.
            part._parameters.pop(local, None)
            own = weight if isinstance(weight, nn.Parameter) else weight.to(device)
            setattr(part, local, own)
        return is_new

    def _weights(self) -> Iterator[tuple[nn.GRU, str, torch.device, Tensor]]:
        """Each weight in the order of the layers: its part, its name there, where it belongs."""
        for stage in self._stages:
            reverse = stage.lane if stage.assistant is None else stage.assistant.lane
            for block in stage.modules.blocks:
                for part in block.gru_parts:
                    lane = reverse if part in block.reverse_parts else stage.lane
                    for name in [name for names in part._all_weights for name in names]:
                        yield part, name, lane.device, getattr(part, name)
