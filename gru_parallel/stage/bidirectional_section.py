"""The section of a block that runs in both directions of time: whole sequences, or nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import Tensor

from gru_parallel.model import BidirectionalBlock
from gru_parallel.model.bidirectional import FORWARD, REVERSE
from gru_parallel.model.block import weights_of
from gru_parallel.model.ragged import BatchSizes, batch_sizes_of
from gru_parallel.schedule import Cell
from gru_parallel.stage.block_section import States, dropout_key
from gru_parallel.stage.gradients import SectionGradients, leaf
from gru_parallel.stage.lane import Lane
from gru_parallel.stage.own_code import has_own_computation
from gru_parallel.stage.second_device import SecondDevice, Work
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.spec import PassSpec
from gru_parallel.stage.stage import BlockGroup

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
        entered: what came in.
        normed: that, normalised if it is to be: a graph of its own.
        halves: of the two directions, each a graph of its own, so that both can run back at once.
        outputs: of the two directions, the roots of another graph that joins them.
        joined: what that comes to.
    """

    entered: Tensor
    normed: Tensor
    halves: list[Half]
    outputs: list[Tensor]
    joined: Tensor


class BidirectionalSection:
    """One bidirectional block. It takes in all chunks before it gives out the first, both ways.

    Args:
        spec: of the pass.
        group: the block.
        states: of the block.
        wants_dx: whether what lies before the section wants a gradient.
        lane: of the stage.
        second_device: the device of the reverse direction; None for the stage's own.

    Attributes:
        has_own_code: whether a direction computes by a class, or a hook, of the caller's own.
    """

    def __init__(
        self,
        spec: PassSpec,
        group: BlockGroup,
        states: States,
        *,
        wants_dx: bool,
        lane: Lane,
        second_device: SecondDevice | None = None,
    ) -> None:
        (block,) = group.blocks
        assert isinstance(block, BidirectionalBlock)
        self.has_own_code = any(map(has_own_computation, block.gru_parts))
        self.states = states
        self._spec = spec
        self._block = block
        self._wants_dx = wants_dx
        self._gives_state = group.gives_state
        self._lane = lane
        self._second_device = second_device
        # W runs on the stage's lane, so what runs on another is not left to it.
        in_b = replace(spec, separates_weights=False)
        specs = {FORWARD: spec, REVERSE: spec if second_device is None else in_b}
        self._of_parts = [
            [SectionGradients(weights_of(block.part(k, d)), specs[d]) for d in DIRECTIONS]
            for k in range(block.num_layers)
        ]
        self._of_joined = SectionGradients(block.other_weights(), spec)
        self.gradients = (*chain.from_iterable(self._of_parts), self._of_joined)
        self._inputs: dict[int, list[Tensor]] = defaultdict(list)
        self._outer: dict[int, dict[int, Parcel]] = defaultdict(dict)
        self._saved: dict[int, tuple[Tensor, list[SavedLayer]]] = {}

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Keep a cell; with the last chunk, run F on the whole sequences."""
        cells, (micro_batch, chunk) = self._spec.cells, parcel.cell
        assert parcel.tensor is not None
        self._inputs[micro_batch].append(parcel.tensor)
        if chunk < cells.n_chunks - 1:
            return []
        x = cells.join(micro_batch, self._inputs.pop(micro_batch))
        previous = None if parcel.state is None else leaf(parcel.state)
        (h_in,) = self.states.entering(micro_batch, previous)
        layers = self._run(micro_batch, x, h_in)
        h_n = torch.cat([h for layer, _ in layers for h in layer])
        self.states.h_n[micro_batch] = [h_n]
        saved = [layer for _, layer in layers]
        if torch.is_grad_enabled():
            self._saved[micro_batch] = (h_in, saved)
        pieces = cells.split(micro_batch, saved[-1].joined.detach())
        return self._parcels(micro_batch, pieces, h_n if self._gives_state else None)

    def forget(self, micro_batch: int) -> None:
        """Let go of what F of a micro-batch has saved."""
        self._saved.pop(micro_batch, None)

    def again(self, parcels: Sequence[Parcel]) -> None:
        """Run F on all cells of a micro-batch again, for their B alone."""
        h_n = dict(self.states.h_n)
        for parcel in parcels:
            self.forward(parcel)
        self.states.h_n = h_n

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Keep a cell's gradient; with the first chunk, run B on the whole sequences."""
        cells, (micro_batch, chunk) = self._spec.cells, parcel.cell
        self._outer[micro_batch][chunk] = parcel
        if chunk > 0:
            return []
        outer = self._outer.pop(micro_batch)
        h_in, layers = self._saved[micro_batch]
        if not self._of_joined.keep:
            del self._saved[micro_batch]
        shapes = cells.split(micro_batch, layers[-1].joined)
        gradients = [outer[c].tensor for c in range(cells.n_chunks)]
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
        # The gradient goes to the weight if the state is learned, otherwise to whatever gave it.
        (dh_0,) = self._of_joined.of_inputs([h_in], [dh_in], [h_in])
        self.states.dh_0[micro_batch] = [dh_0]
        if not self._wants_dx:
            return []
        pieces = cells.split(micro_batch, dx)
        state = dh_0 if self._block.h_0 == "previous" else None
        return self._parcels(micro_batch, pieces, state)[::-1]

    def _parcels(
        self, micro_batch: int, pieces: Sequence[Tensor], state: Tensor | None
    ) -> list[Parcel]:
        last = len(pieces) - 1
        return [
            Parcel(Cell(micro_batch, chunk), piece.contiguous(), state if chunk == last else None)
            for chunk, piece in enumerate(pieces)
        ]

    def _run(
        self, micro_batch: int, x: Tensor, h_in: Tensor
    ) -> list[tuple[list[Tensor], SavedLayer]]:
        """Run the layers one by one; return each one's last states, and what it saves."""
        block = self._block
        ragged = self._ragged(micro_batch)
        # All chunks at once: the random numbers are those of the first cell.
        key = dropout_key(self._spec, Cell(micro_batch, 0))
        layers = []
        for k in range(block.num_layers):
            halves: dict[int, Half] = {}
            entered = leaf(x)
            normed = block.normed(entered, k)
            entering = [[normed.detach(), h_in[block.state(k, d)].detach()] for d in DIRECTIONS]
            results = self._run_both(
                [self._forward_work(micro_batch, k, d, ragged, halves) for d in DIRECTIONS],
                entering,
            )
            outputs = [leaf(y) for y, _ in results if y is not None]
            joined = block.join(k, outputs[FORWARD], outputs[REVERSE], key)
            joined = block.with_residual(entered, joined)
            h_n = [h for _, h in results if h is not None]
            of_both = [halves[d] for d in DIRECTIONS]
            layers.append((h_n, SavedLayer(entered, normed, of_both, outputs, joined)))
            x = joined.detach()
        return layers

    def _ragged(self, micro_batch: int) -> BatchSizes | None:
        """Say how many rows run at each step, if not all do at all steps."""
        lengths = self._spec.cells.lengths
        if lengths is None or lengths[micro_batch][-1] == lengths[micro_batch][0]:
            return None
        return batch_sizes_of(lengths[micro_batch], lengths[micro_batch][0])

    def _forward_work(
        self,
        micro_batch: int,
        k: int,
        direction: int,
        ragged: BatchSizes | None,
        halves: dict[int, Half],
    ) -> Work:
        is_own = has_own_computation(self._block.part(k, direction))
        gradients = self._of_parts[k][direction]
        # B of all chunks comes with the first.
        tape = gradients.tape(Cell(micro_batch, 0)) if torch.is_grad_enabled() else None

        def work(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
            x, h_in = (leaf(t) for t in tensors if t is not None)
            y, h_n = self._block.run_direction(
                k, direction, x.clone() if is_own else x, h_in, ragged, tape
            )
            if is_own:
                gradients.check_leaves("A block", (y, h_n), [x, h_in])
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
            *arriving, past = self._of_joined.of_inputs(
                [layer.joined], [dy], [*layer.outputs, layer.entered]
            )
            of_states = [None if dh_n is None else dh_n[block.state(k, d)] for d in DIRECTIONS]
            results = self._run_both(
                [self._backward_work(k, d, layer.halves[d]) for d in DIRECTIONS],
                [[arriving[d], of_states[d]] for d in DIRECTIONS],
            )
            (dx, dh), (dx_reverse, dh_reverse) = results
            assert dx is not None
            assert dx_reverse is not None
            dy = self._before(layer, dx + dx_reverse, past)
            dh_0 = [h for h in (dh, dh_reverse) if h is not None] + dh_0
        return dy, torch.cat(dh_0)

    def _before(self, layer: SavedLayer, dy: Tensor, past: Tensor | None) -> Tensor:
        """Return the gradient of what entered a layer.

        Args:
            layer: what F kept of it.
            dy: the gradient of the inputs of its directions.
            past: what went past them; None for nothing.
        """
        if layer.normed is not layer.entered:
            (of_norm,) = self._of_joined.of_inputs([layer.normed], [dy], [layer.entered])
            assert of_norm is not None
            dy = of_norm
        return dy if past is None else dy + past

    def _backward_work(self, k: int, direction: int, half: Half) -> Work:
        def work(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
            inputs = [half.x, half.h_in]
            found = self._of_parts[k][direction].of_inputs([half.y, half.h_out], tensors, inputs)
            # A part of the caller's own may not look at its state, or at its inputs.
            pairs = zip(inputs, found, strict=True)
            return [torch.zeros_like(t) if g is None else g for t, g in pairs]

        return work

    def _run_both(
        self, works: Sequence[Work], tensors: Sequence[list[Tensor] | list[Tensor | None]]
    ) -> list[list[Tensor | None]]:
        """Run both directions: at once, where there is a second device, or one after the other."""
        if self._second_device is None:
            return [work(taken) for work, taken in zip(works, tensors, strict=True)]
        both = self._second_device.beside(
            works[REVERSE],
            tensors[REVERSE],
            self._lane,
            meanwhile=lambda: works[FORWARD](tensors[FORWARD]),
        )
        return list(both)
