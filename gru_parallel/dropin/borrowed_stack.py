"""BorrowedStack: stages whose blocks compute with the weights of somebody else's module."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import RLock

import torch
from torch import Tensor, nn

from gru_parallel.dropin.halves import Gradients, Halves, Passes
from gru_parallel.engine.stages import make_stages
from gru_parallel.model import GRUStack
from gru_parallel.model.private import make_private
from gru_parallel.placement.plan import Plan
from gru_parallel.stage.stage import StageModules


@dataclass(frozen=True)
class Loan:
    """A weight that the blocks compute with.

    Attributes:
        weight: of the module; None where something stands in for the parameter, and is new at each
            call.
        leaf: what the blocks have in its place.
    """

    weight: nn.Parameter | None
    leaf: Tensor

    def holds(self, weight: Tensor) -> bool:
        """Whether the blocks would compute with this weight as it is now."""
        return (
            weight is self.weight
            and weight.data_ptr() == self.leaf.data_ptr()
            and weight.shape == self.leaf.shape
            and weight.stride() == self.leaf.stride()
            and weight.device == self.leaf.device
            and weight.dtype == self.leaf.dtype
            and weight.requires_grad == self.leaf.requires_grad
        )


class BorrowedStack:
    """The pipeline of an `nn.GRU` whose parameters stay its own. Threads take turns with it.

    Args:
        gru: whose layers they are.
        plan: how its layers are cut and placed.
        in_thread: whether the only stage runs in the caller's own thread.
    """

    def __init__(self, gru: nn.GRU, plan: Plan, *, in_thread: bool) -> None:
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
        for block in self._stack.gru_blocks:
            for part in block.gru_parts:
                # They compute with what they are lent.
                part._parameters.clear()
        for module in self._stack.modules():
            make_private(module)
        blocks, states = self._stack.gru_blocks, self._stack.state_slices
        ranges = [slice(placed.blocks.start, placed.blocks.stop) for placed in plan.stages]
        modules = [StageModules(None, blocks[own], states[own], None) for own in ranges]
        self._stages = make_stages(plan, modules)
        self._halves = Halves(plan, self._stages, in_thread=in_thread)
        self._loans: list[Loan] = []
        # Reentrant: a checkpoint runs F again in the midst of B.
        self._turn = RLock()

    def forward(
        self,
        x: Tensor,
        h_0: Tensor,
        lengths: Tensor | None,
        weights: Sequence[Tensor],
        *,
        training: bool,
        seed: int,
        gradients: bool,
    ) -> tuple[Passes, Tensor, Tensor]:
        """Run F of a batch with weights of the moment; see `Halves.forward`.

        Args:
            x: inputs, shape (batch, time, input_size).
            h_0: states that enter, shape (n_states, batch, hidden_size).
            lengths: time steps of each row, shape (batch,); None where all are whole.
            weights: of the module, in the order of `nn.GRU`. Parameters move to their stages.
            training: whether there is dropout.
            seed: of dropout.
            gradients: whether B is to follow.
        """
        with self._turn:
            loans = self._loans
            if len(loans) != len(weights) or not all(map(Loan.holds, loans, weights)):
                self._borrow(weights)
            if self._stack.training != training:
                self._stack.train(training)
            wants_dx = x.requires_grad
            return self._halves.forward(
                x, h_0, lengths, seed=seed, gradients=gradients, wants_dx=wants_dx
            )

    def backward(self, passes: Passes, dy: Tensor | None, dh_n: Tensor | None) -> Gradients:
        """Run B of a batch; see `Halves.backward`."""
        with self._turn:
            return self._halves.backward(passes, dy, dh_n)

    def _borrow(self, weights: Sequence[Tensor]) -> None:
        """Let the blocks compute with these weights, each on its stage's device.

        They get leaves of their own that share the weights' memory: B differentiates by those, so
        that what hangs on a weight, a hook or a parametrization, is left to the caller's autograd.
        """
        rest = iter(weights)
        self._loans = []
        for part, device in self._parts():
            names = part._flat_weights_names
            lent = [next(rest) for _ in names]
            placed = [_on(device, weight) for weight in lent]
            # One piece of memory for each call of cuDNN, before anything shares it.
            part._flat_weights = list(placed)
            part.flatten_parameters()
            for name, weight, own in zip(names, lent, placed, strict=True):
                leaf = own.detach().requires_grad_(weight.requires_grad)
                setattr(part, name, leaf)
                parameter = weight if isinstance(weight, nn.Parameter) else None
                self._loans.append(Loan(parameter, leaf))
            # Or else nn.GRU would think them new at its next call, and move them once more.
            part._flat_weight_refs = [weakref.ref(getattr(part, name)) for name in names]
        for stage in self._stages:
            # What it has worked out about its modules goes by the weights that they had.
            stage.modules = replace(stage.modules)

    def _parts(self) -> Iterator[tuple[nn.GRU, torch.device]]:
        """Each part in the order of the layers, and the device that it belongs on."""
        for stage in self._stages:
            reverse = stage.lane if stage.second_device is None else stage.second_device.lane
            for block in stage.modules.blocks:
                for part in block.gru_parts:
                    yield part, (reverse if part in block.reverse_parts else stage.lane).device


def _on(device: torch.device, weight: Tensor) -> Tensor:
    """Move a parameter, or copy what stands in for one, to a device, if it is not there."""
    if not isinstance(weight, nn.Parameter):
        return weight.detach().to(device)
    if weight.device != device:
        # As a module moves: the parameter stays the optimiser's, its gradient goes with it.
        nn.ParameterList([weight]).to(device)
    return weight
