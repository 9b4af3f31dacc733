"""The section of a block that runs in both directions of time: whole sequences, or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gru_parallel.model import BidirectionalBlock
from gru_parallel.model.bidirectional import FORWARD, REVERSE
from gru_parallel.model.block import weights_of
from gru_parallel.model.ragged import BatchSizes, batch_sizes_of
from gru_parallel.schedule import Cell
from gru_parallel.stage.block_section import States
from gru_parallel.stage.gradient_sums import GradientSums
from gru_parallel.stage.own_code import has_own_computation, refuse_foreign_leaf
from gru_parallel.stage.second_device import SecondDevice, Work
from gru_parallel.stage.section import Parcel, PassSetting, Section, leaf

DIRECTIONS = (FORWARD, REVERSE)


@dataclass
class Half:
    """What F keeps of one direction of a layer for B, on the direction's device."""

    x: Tensor
    h_in: Tensor
    h_out: Tensor
    y: Tensor


@dataclass
class SavedLayer:
    """What F keeps of a layer for B.

    Attributes:
        halves: of the two directions, each a graph of its own, so that both can run back at once.
        outputs: of the two directions, the roots of a third graph that joins them.
        joined: what that comes to.
    """

    halves: list[Half]
    outputs: list[Tensor]
    joined: Tensor


class BidirectionalSection(Section):
    """One bidirectional block. It takes in all chunks before it gives out the first, both ways.

    Args:
        setting: of the pass.
        states: of the block.
        wants_dx: whether what lies before the section wants a gradient.
        gives_state: whether the next section starts from the block's h_n.
        assistant: the device of the reverse direction; None for the stage's own.
    """

    def __init__(
        self,
        setting: PassSetting,
        states: States,
        *,
        wants_dx: bool,
        gives_state: bool,
        assistant: SecondDevice | None = None,
    ) -> None:
        (block,) = states.blocks
        assert isinstance(block, BidirectionalBlock)
        super().__init__(setting, block.other_weights())
        self.states = states
        self._block = block
        self._wants_dx = wants_dx
        self._gives_state = gives_state
        self._assistant = assistant
        self._sums = [
            [GradientSums(weights_of(block.part(k, d))) for d in DIRECTIONS]
            for k in range(block.num_layers)
        ]
        self._inputs: dict[int, list[Tensor]] = defaultdict(list)
        self._outer: dict[int, dict[int, Parcel]] = defaultdict(dict)
        self._saved: dict[int, tuple[Tensor, list[SavedLayer]]] = {}

    def weight_gradients(self) -> list[Tensor | None]:
        """Return the gradient of each weight of the block, in the order of `Block.weights`."""
        of_parts = [sums.of_all_weights() for layer in self._sums for sums in layer]
        return [*(g for part in of_parts for g in part), *self.gradients.of_all_weights()]

    def forget_gradients(self) -> None:
        """Begin to add gradients up anew."""
        super().forget_gradients()
        for layer in self._sums:
            for sums in layer:
                sums.clear()

    def forward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Keep a cell; with the last chunk, run F on the whole sequences."""
        cells = self.setting.cells
        assert parcel.tensor is not None
        self._inputs[micro_batch].append(parcel.tensor)
        if parcel.chunk < cells.n_chunks - 1:
            return []
        x = cells.join(micro_batch, self._inputs.pop(micro_batch))
        previous = None if parcel.state is None else leaf(parcel.state)
        (h_in,) = self.states.entering(micro_batch, self.setting, previous)
        layers = self._run(micro_batch, x, h_in)
        h_n = torch.cat([h for layer, _ in layers for h in layer])
        self.states.h_n[micro_batch] = [h_n]
        saved = [layer for _, layer in layers]
        if torch.is_grad_enabled():
            self._saved[micro_batch] = (h_in, saved)
        pieces = cells.split(micro_batch, saved[-1].joined.detach())
        return self._parcels(pieces, h_n if self._gives_state else None)

    def backward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Keep a cell's gradient; with the first chunk, run B on the whole sequences."""
        cells = self.setting.cells
        self._outer[micro_batch][parcel.chunk] = parcel
        if parcel.chunk > 0:
            return []
        outer = self._outer.pop(micro_batch)
        h_in, layers = self._saved[micro_batch]
        if not self.setting.keep:
            del self._saved[micro_batch]
        shapes = cells.split(micro_batch, layers[-1].joined)
        gradients = [outer[chunk].tensor for chunk in range(cells.n_chunks)]
        dy = cells.join(
            micro_batch,
            [
                torch.zeros_like(y) if g is None else g
                for y, g in zip(shapes, gradients, strict=True)
            ],
        )
        (dh_n,) = self.states.dh_n.get(micro_batch, [None])
        handed = outer[cells.n_chunks - 1].state
        dh_n = handed if dh_n is None else dh_n if handed is None else dh_n + handed
        dx, dh_in = self._run_back(layers, dy, dh_n)
        # Where the state is learned, that is where its gradient goes; else to whoever gave it.
        (dh_0,) = self.differentiate([h_in], [dh_in], [h_in]) if h_in.requires_grad else (None,)
        self.states.dh_0[micro_batch] = [dh_0]
        if not self._wants_dx:
            return []
        pieces = cells.split(micro_batch, dx)
        return self._parcels(pieces, dh_0 if self._block.h_0 == "previous" else None)[::-1]

    def _parcels(self, pieces: Sequence[Tensor], state: Tensor | None) -> list[Parcel]:
        last = len(pieces) - 1
        return [
            Parcel(chunk, piece.contiguous(), state if chunk == last else None)
            for chunk, piece in enumerate(pieces)
        ]

    def _run(
        self, micro_batch: int, x: Tensor, h_in: Tensor
    ) -> list[tuple[list[Tensor], SavedLayer]]:
        """Run the layers one by one; return each one's last states, and what it saves."""
        setting, block = self.setting, self._block
        ragged = self._ragged(micro_batch)
        # All chunks at once: the random numbers are those of the first cell.
        key = setting.dropout_key(Cell(micro_batch, 0))
        layers = []
        for k in range(block.num_layers):
            halves: dict[int, Half] = {}
            entering = [[x, h_in[block.state(k, d)].detach()] for d in DIRECTIONS]
            results = self._run_both(
                [self._forward_work(k, d, ragged, halves) for d in DIRECTIONS], entering
            )
            outputs = [leaf(y) for y, _ in results if y is not None]
            joined = block.join(k, outputs[FORWARD], outputs[REVERSE], key)
            h_n = [h for _, h in results if h is not None]
            layers.append((h_n, SavedLayer([halves[d] for d in DIRECTIONS], outputs, joined)))
            x = joined.detach()
        return layers

    def _ragged(self, micro_batch: int) -> BatchSizes | None:
        """Say how many rows run at each step, if not all do at all steps."""
        lengths = self.setting.cells.lengths
        if lengths is None or lengths[micro_batch][-1] == lengths[micro_batch][0]:
            return None
        return batch_sizes_of(lengths[micro_batch], lengths[micro_batch][0])

    def _forward_work(
        self, k: int, direction: int, ragged: BatchSizes | None, halves: dict[int, Half]
    ) -> Work:
        is_own = has_own_computation(self._block.part(k, direction))

        def work(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
            x, h_in = (leaf(t) for t in tensors if t is not None)
            y, h_n = self._block.run_direction(
                k, direction, x.clone() if is_own else x, h_in, ragged
            )
            for root in (y, h_n) if is_own else ():
                known = self._sums[k][direction].trained
                refuse_foreign_leaf("A block", root, known, [x, h_in])
            halves[direction] = Half(x, h_in, h_n, y)
            return [y.detach(), h_n.detach()]

        return work

    def _run_back(
        self, layers: Sequence[SavedLayer], dy: Tensor, dh_n: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run B through the layers; return the gradients of x and of the state that entered."""
        block = self._block
        dh_0: list[Tensor] = []
        for k in reversed(range(block.num_layers)):
            layer = layers[k]
            arriving = self.differentiate([layer.joined], [dy], layer.outputs)
            of_states = [None if dh_n is None else dh_n[block.state(k, d)] for d in DIRECTIONS]
            results = self._run_both(
                [self._backward_work(k, d, layer.halves[d]) for d in DIRECTIONS],
                [[arriving[d], of_states[d]] for d in DIRECTIONS],
            )
            (dx, dh), (dx_reverse, dh_reverse) = results
            assert dx is not None
            assert dx_reverse is not None
            dy = dx + dx_reverse
            dh_0 = [h for h in (dh, dh_reverse) if h is not None] + dh_0
        return dy, torch.cat(dh_0)

    def _backward_work(self, k: int, direction: int, half: Half) -> Work:
        sums = self._sums[k][direction]

        def work(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
            roots = [
                (root, gradient)
                for root, gradient in zip((half.y, half.h_out), tensors, strict=True)
                if gradient is not None and root.requires_grad
            ]
            if not roots:
                return [torch.zeros_like(half.x), torch.zeros_like(half.h_in)]
            with torch.autocast(half.x.device.type, enabled=False):
                dx, dh, *found = _grad(
                    [root for root, _ in roots],
                    [half.x, half.h_in, *sums.trained],
                    [gradient for _, gradient in roots],
                    retain_graph=self.setting.keep,
                    allow_unused=True,
                )
            sums.add(found)
            # A part of the caller's own may not look at its state, or at its inputs.
            pairs = ((half.x, dx), (half.h_in, dh))
            return [torch.zeros_like(t) if g is None else g for t, g in pairs]

        return work

    def _run_both(
        self, works: Sequence[Work], tensors: Sequence[list[Tensor] | list[Tensor | None]]
    ) -> list[list[Tensor | None]]:
        """Run both directions: at once, where there is an assistant, or one after the other."""
        if self._assistant is None:
            return [work(own) for work, own in zip(works, tensors, strict=True)]
        both = self._assistant.beside(
            works[REVERSE],
            tensors[REVERSE],
            self.setting.lane,
            meanwhile=lambda: works[FORWARD](tensors[FORWARD]),
        )
        return list(both)


# torch has no types for gradients that are not there.
_grad: Callable[..., tuple[Tensor | None, ...]] = torch.autograd.grad
