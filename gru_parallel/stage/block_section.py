"""The sections of blocks that run chunk by chunk, with h and dL/dh carried from chunk to chunk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gru_parallel.model import Block, Start
from gru_parallel.model.hidden import entering
from gru_parallel.schedule import Cell
from gru_parallel.stage.own_code import has_own_forward
from gru_parallel.stage.section import Parcel, PassSetting, Section, leaf


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
        blocks: of the section.
        starts: for each block, what its rows may start from, over the whole batch.

    Attributes:
        h_n: by micro-batch, the state that left each block; filled by F.
        dh_n: by micro-batch, its gradient, where something after the stack has one; B reads it.
        dh_0: by micro-batch, the gradient of the state that entered each block; filled by B.
    """

    def __init__(self, blocks: Sequence[Block], starts: Sequence[Start]) -> None:
        self.blocks = tuple(blocks)
        self._starts = tuple(starts)
        self.h_n: dict[int, list[Tensor]] = {}
        self.dh_n: dict[int, list[Tensor | None]] = {}
        self.dh_0: dict[int, list[Tensor | None]] = {}

    def entering(
        self, micro_batch: int, setting: PassSetting, previous: Tensor | None
    ) -> list[Tensor]:
        """Return the state that enters each block at the start of a micro-batch's sequences."""
        rows, n_rows = setting.cells.rows[micro_batch], setting.cells.n_rows(micro_batch)
        states = []
        for block, start in zip(self.blocks, self._starts, strict=True):
            own = start.of(slice(None), rows)
            if own.h_0 is not None:
                # Cut off from the batch's h_0, which may have a history; B gives it its gradient.
                wanted = torch.is_grad_enabled() and own.h_0.requires_grad
                h_0 = setting.lane.fetch(own.h_0.detach()).requires_grad_(wanted)
                own = Start(h_0, own.carried)
            states.append(entering(block, n_rows, own, previous))
            previous = None
        return states


class BlockSection(Section):
    """Consecutive blocks that run forward in time: as soon as a cell comes, it goes on.

    Within a micro-batch h passes from chunk to chunk in F and dL/dh back in B.

    Args:
        setting: of the pass.
        states: of the section's blocks.
        wants_dx: whether what lies before the section wants a gradient.
        gives_state: whether the next section starts from the h_n of the last block.
    """

    def __init__(
        self, setting: PassSetting, states: States, *, wants_dx: bool, gives_state: bool
    ) -> None:
        super().__init__(setting, [w for block in states.blocks for w in block.weights()])
        self.states = states
        self._wants_dx = wants_dx
        self._gives_state = gives_state
        self._is_own = any(map(has_own_forward, states.blocks))
        self._h: dict[int, list[Tensor]] = {}
        self._dh: list[Tensor | None] = []
        self._saved: dict[Cell, Saved] = {}
        self._previous: dict[int, Tensor] = {}

    def start_from(self, micro_batch: int, h_n: Tensor) -> Tensor:
        """Let the first block of a micro-batch start from the block before; return the state."""
        self._previous[micro_batch] = leaf(h_n)
        return self._previous[micro_batch]

    def forward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Run F on a cell."""
        assert parcel.tensor is not None
        cell = Cell(micro_batch, parcel.chunk)
        x = leaf(parcel.tensor) if self._wants_dx else parcel.tensor
        h_in = self._entering(cell)
        y, h_out = self._run(cell, x, h_in)
        # Detached: the graph is for B alone, and would otherwise live until the step's end.
        after = [h.detach() for h in h_out]
        is_last = parcel.chunk == self.setting.cells.n_chunks - 1
        (self.states.h_n if is_last else self._h)[micro_batch] = after
        if torch.is_grad_enabled():
            self._saved[cell] = Saved(x, h_in, h_out, y)
            for root in (y, *h_out) if self._is_own else ():
                self.check_leaves("A block", root, [x, *h_in])
        handed = after[-1] if is_last and self._gives_state else None
        return [Parcel(parcel.chunk, y.detach(), handed)]

    def backward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Run B on a cell: towards the inputs and, with it, the weights' gradient."""
        cell = Cell(micro_batch, parcel.chunk)
        saved = self._saved[cell] if self.setting.keep else self._saved.pop(cell)
        if parcel.chunk == self.setting.cells.n_chunks - 1:
            self._dh = self._ending(micro_batch, parcel.state)
        elif self.setting.begins_segment(parcel.chunk + 1):
            self._dh = [None for _ in saved.h_out]
        roots = [saved.y if parcel.tensor is not None else None]
        roots += [
            h if dh is not None else None for h, dh in zip(saved.h_out, self._dh, strict=True)
        ]
        # What a block learns to start from is a weight, not an input.
        h_sources = [h for h in saved.h_in if h.requires_grad and h.is_leaf]
        sources = [saved.x, *h_sources] if self._wants_dx else h_sources
        found = iter(self.differentiate(roots, [parcel.tensor, *self._dh], sources))
        dx = next(found) if self._wants_dx else None
        is_source = [h.requires_grad and h.is_leaf for h in saved.h_in]
        self._dh = [next(found) if wanted else None for wanted in is_source]
        if parcel.chunk == 0:
            self.states.dh_0[micro_batch] = self._dh
        if not self._wants_dx:
            return []
        return [Parcel(parcel.chunk, torch.zeros_like(saved.x) if dx is None else dx)]

    def _entering(self, cell: Cell) -> list[Tensor]:
        micro_batch, chunk = cell
        if chunk == 0:
            previous = self._previous.get(micro_batch)
            return self.states.entering(micro_batch, self.setting, previous)
        states = self._h.pop(micro_batch)
        if self.setting.begins_segment(chunk):
            return states
        return [leaf(h) for h in states]

    def _run(self, cell: Cell, x: Tensor, h_in: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        cells, setting = self.setting.cells, self.setting
        n_active, n_rows = cells.n_active(cell), cells.n_rows(cell[0])
        if n_active == 0:
            return x.new_zeros(0, 0, self.states.blocks[-1].output_size), list(h_in)
        sizes = cells.batch_sizes(cell)
        ragged = None if sizes[-1] == n_active else sizes
        key = setting.dropout_key(cell)
        # A leaf itself could not be changed in place.
        y = x.clone() if self._is_own else x
        h_out = []
        for block, h in zip(self.states.blocks, h_in, strict=True):
            if n_active == n_rows:
                y, h_n = block(y, h, key, ragged)
            else:
                # Rows that have ended keep the state in which they did.
                y, running = block(y, h[:, :n_active].contiguous(), key, ragged)
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


class WaitingSection(Section):
    """Blocks of which the first starts from the h_n of the block before: a barrier in time.

    It takes in all chunks of a micro-batch before it runs the first, since h_n comes with the last;
    and gives out no gradient before it has them all, since that of h_n comes with the first chunk.

    Args:
        inner: the blocks, run chunk by chunk once they can.
    """

    def __init__(self, inner: BlockSection) -> None:
        super().__init__(inner.setting, ())
        self.gradients = inner.gradients
        self.inner = inner
        self._inputs: dict[int, list[Parcel]] = defaultdict(list)
        self._gradients: dict[int, list[Parcel]] = defaultdict(list)

    def forward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Keep a cell; with the last chunk, run F on all."""
        self._inputs[micro_batch].append(parcel)
        if parcel.chunk < self.setting.cells.n_chunks - 1:
            return []
        assert parcel.state is not None
        self.inner.start_from(micro_batch, parcel.state)
        kept = self._inputs.pop(micro_batch)
        return [out for waiting in kept for out in self.inner.forward(micro_batch, waiting)]

    def backward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Run B on a cell and keep its result; with the first chunk, give all of them out."""
        self._gradients[micro_batch] += self.inner.backward(micro_batch, parcel)
        if parcel.chunk > 0:
            return []
        first, *others = self._gradients.pop(micro_batch)
        state = self.inner.states.dh_0[micro_batch][0]
        return [replace(first, state=state), *others]
