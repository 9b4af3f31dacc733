"""The sections of blocks that run chunk by chunk, with h and dL/dh carried from chunk to chunk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gru_parallel.model import DropoutKey, Start
from gru_parallel.model.dropout import RecordedKey
from gru_parallel.model.hidden import entering
from gru_parallel.schedule import Cell
from gru_parallel.stage.gradients import SectionGradients, leaf
from gru_parallel.stage.lane import Lane
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.spec import PassSpec
from gru_parallel.stage.stage import BlockGroup


@dataclass
class Saved:
    """What F keeps of a cell for B."""

    x: Tensor
    h_in: list[Tensor]
    h_out: list[Tensor]
    y: Tensor


class States:
    """The states that enter and leave the blocks of a section at the ends of the sequences.

    Args:
        group: the blocks of the section.
        start: what they may start from, over the whole batch.
        spec: of the pass.
        lane: of the stage.

    Attributes:
        blocks: of the section.
        h_n: by micro-batch, the state that left each block; filled by F.
        dh_n: by micro-batch, its gradient, where something after the stack has one; B reads it.
        dh_0: by micro-batch, the gradient of the state that entered each block; filled by B.
    """

    def __init__(self, group: BlockGroup, start: Start, spec: PassSpec, lane: Lane) -> None:
        self.blocks = group.blocks
        self._slices = group.slices
        self._start = start
        self._is_given = start.h_0 is not None or start.carried is not None
        self._cells = spec.cells
        self._lane = lane
        self.h_n: dict[int, list[Tensor]] = {}
        self.dh_n: dict[int, list[Tensor | None]] = {}
        self.dh_0: dict[int, list[Tensor | None]] = {}

    def entering(self, micro_batch: int, previous: Tensor | None) -> list[Tensor]:
        """Return the state that enters each block at the start of a micro-batch's sequences."""
        rows = self._cells.rows[micro_batch]
        states = []
        for block, of_block in zip(self.blocks, self._slices, strict=True):
            start = self._start.of(of_block, rows) if self._is_given else self._start
            if start.h_0 is not None:
                # Cut off from the batch's h_0, which may have a history; B gives it its gradient.
                wanted = torch.is_grad_enabled() and start.h_0.requires_grad
                h_0 = self._lane.fetch(start.h_0.detach()).requires_grad_(wanted)
                start = replace(start, h_0=h_0)
            states.append(entering(block, self._cells.n_rows(micro_batch), start, previous))
            previous = None
        return states


class BlockSection:
    """Consecutive blocks that run forward in time: as soon as a cell comes, it is passed on.

    Within a micro-batch h passes from chunk to chunk in F and dL/dh back in B.

    Args:
        spec: of the pass.
        group: the blocks.
        states: of the blocks.
        wants_dx: whether what lies before the section wants a gradient.
    """

    def __init__(
        self, spec: PassSpec, group: BlockGroup, states: States, *, wants_dx: bool
    ) -> None:
        self.spec = spec
        self.states = states
        self.gradients = (SectionGradients(group.weights, spec),)
        self._group = group
        self._wants_dx = wants_dx
        self._last_chunk = spec.cells.n_chunks - 1
        self._h: dict[int, list[Tensor]] = {}
        self._dh: list[Tensor | None] = []
        self._saved: dict[Cell, Saved] = {}
        self._previous: dict[int, Tensor] = {}

    def start_from(self, micro_batch: int, h_n: Tensor) -> None:
        """Let the first block of a micro-batch start from the h_n of the block before."""
        self._previous[micro_batch] = leaf(h_n)

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Run F on a cell."""
        assert parcel.tensor is not None
        cell = parcel.cell
        x = leaf(parcel.tensor) if self._wants_dx else parcel.tensor
        if cell.chunk == 0:
            h_in = self.states.entering(cell.micro_batch, self._previous.get(cell.micro_batch))
        else:
            h_in = self._h.pop(cell.micro_batch)
            if cell.chunk not in self.spec.segments.first_chunks:
                h_in = [leaf(h) for h in h_in]
        y, h_out = self._run(cell, x, h_in)
        # Detached: the graph is for B alone, and would otherwise live until the step's end.
        after = [h.detach() for h in h_out]
        is_last = cell.chunk == self._last_chunk
        (self.states.h_n if is_last else self._h)[cell.micro_batch] = after
        if torch.is_grad_enabled():
            self._saved[cell] = Saved(x, h_in, h_out, y)
            if self._group.is_own:
                self.gradients[0].check_leaves("A block", (y, *h_out), [x, *h_in])
        handed = after[-1] if is_last and self._group.gives_state else None
        return [Parcel(cell, y.detach(), handed)]

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Run B on a cell."""
        cell = parcel.cell
        saved = self._saved[cell] if self.gradients[0].keep else self._saved.pop(cell)
        if cell.chunk == self._last_chunk:
            self._dh = self._ending(cell.micro_batch, parcel.state)
        elif cell.chunk + 1 in self.spec.segments.first_chunks:
            self._dh = [None for _ in saved.h_out]
        # What a block learns to start from is a weight, not an input.
        is_input = [h.requires_grad and h.is_leaf for h in saved.h_in]
        inputs = [h for h, wanted in zip(saved.h_in, is_input, strict=True) if wanted]
        inputs = [saved.x, *inputs] if self._wants_dx else inputs
        roots, root_gradients = [saved.y, *saved.h_out], [parcel.tensor, *self._dh]
        found = iter(self.gradients[0].of_inputs(roots, root_gradients, inputs))
        dx = next(found) if self._wants_dx else None
        self._dh = [next(found) if wanted else None for wanted in is_input]
        if cell.chunk == 0:
            self.states.dh_0[cell.micro_batch] = self._dh
        if not self._wants_dx:
            return []
        return [Parcel(cell, torch.zeros_like(saved.x) if dx is None else dx)]

    def _run(self, cell: Cell, x: Tensor, h_in: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        cells, spec = self.spec.cells, self.spec
        n_active, n_rows = cells.n_active(cell), cells.n_rows(cell.micro_batch)
        if n_active == 0:
            return x.new_zeros(0, 0, self.states.blocks[-1].output_size), list(h_in)
        ragged = cells.ragged_sizes(cell)
        given: list[Any] = [dropout_key(spec, cell), ragged]
        if not self._group.is_own:
            given.append(self.gradients[0].taker(cell))
        # A leaf itself could not be changed in place.
        y = x.clone() if self._group.is_own else x
        h_out = []
        for block, h in zip(self.states.blocks, h_in, strict=True):
            if n_active == n_rows:
                y, h_n = block(y, h, *given)
            else:
                # Rows that have ended keep the state in which they did.
                y, running = block(y, h[:, :n_active].contiguous(), *given)
                h_n = torch.cat([running, h[:, n_active:]], dim=1)
            h_out.append(h_n)
        return y, h_out

    def _ending(self, micro_batch: int, state: Tensor | None) -> list[Tensor | None]:
        """Return the gradient of the state that leaves each block at the end."""
        gradients = list(self.states.dh_n.get(micro_batch, [None for _ in self.states.blocks]))
        if state is not None:
            last = gradients[-1]
            gradients[-1] = state if last is None else last + state
        return gradients


class WaitingSection:
    """Blocks of which the first starts from the h_n of the block before: a barrier in time.

    It takes in all chunks of a micro-batch before it runs the first, since h_n comes with the last;
    and gives out no gradient before it has them all, since that of h_n comes with the first chunk.

    Args:
        inner: the blocks, run chunk by chunk once they can.
    """

    def __init__(self, inner: BlockSection) -> None:
        self.gradients = inner.gradients
        self._inner = inner
        self._inputs: dict[int, list[Parcel]] = defaultdict(list)
        self._gradients: dict[int, list[Parcel]] = defaultdict(list)

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Keep a cell; with the last chunk, run F on all."""
        micro_batch, chunk = parcel.cell
        self._inputs[micro_batch].append(parcel)
        if chunk < self._inner.spec.cells.n_chunks - 1:
            return []
        assert parcel.state is not None
        self._inner.start_from(micro_batch, parcel.state)
        kept = self._inputs.pop(micro_batch)
        return [out for waiting in kept for out in self._inner.forward(waiting)]

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Run B on a cell and keep its result; with the first chunk, give all of them out."""
        micro_batch, chunk = parcel.cell
        self._gradients[micro_batch] += self._inner.backward(parcel)
        if chunk > 0:
            return []
        first, *others = self._gradients.pop(micro_batch)
        return [replace(first, state=self._inner.states.dh_0[micro_batch][0]), *others]


def dropout_key(spec: PassSpec, cell: Cell) -> DropoutKey:
    """Name the random numbers of a cell."""
    numbers = spec.seed, spec.step, spec.first_micro_batch + cell.micro_batch, cell.chunk
    return DropoutKey(*numbers) if spec.masks is None else RecordedKey(*numbers, spec.masks)
