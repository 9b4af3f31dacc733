"""The sections of blocks that run chunk by chunk, with h and dL/dh carried from chunk to chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gru_parallel.model import DropoutKey, Start, decoding
from gru_parallel.model.core.tape import Tape
from gru_parallel.model.dropout import RecordedKey
from gru_parallel.model.hidden import entering
from gru_parallel.schedule import Cell
from gru_parallel.stage.gradients import SectionGradients, leaf
from gru_parallel.stage.lane import Lane
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import BlockGroup


@dataclass
class Saved:
    """What F keeps of a cell for B.

    Attributes:
        x: inputs.
        h_in: the state that entered each block.
        h_out: the state that left each block.
        y: outputs.
        tape: what the blocks did in between, where autograd does not know it.
        after: the same of the steps after the window, which run as rows of one step; None where the
            cell has none.
    """

    x: Tensor
    h_in: list[Tensor]
    h_out: list[Tensor]
    y: Tensor
    tape: Tape | None
    after: Saved | None = None


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

    Attributes:
        has_own_code: whether a block computes by a class of the caller's own.
    """

    def __init__(
        self, spec: PassSpec, group: BlockGroup, states: States, *, wants_dx: bool
    ) -> None:
        self.spec = spec
        self.states = states
        self.gradients = (SectionGradients(group.weights, spec),)
        self.has_own_code = group.is_own
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
        x, cell, key = parcel.tensor, parcel.cell, dropout_key(self.spec, parcel.cell)
        n_decoding = self.spec.cells.n_decoding_in(cell)
        x, x_after = decoding.split(x, n_decoding) if n_decoding > 0 else (x, None)
        if cell.chunk == 0:
            h_in = self.states.entering(cell.micro_batch, self._previous.get(cell.micro_batch))
        else:
            h_in = self._h.pop(cell.micro_batch)
            if cell.chunk not in self.spec.segments.first_chunks:
                h_in = [leaf(h) for h in h_in]
        saved = self._run(cell, x, h_in, key)
        # Detached: the graph is for B alone, and would otherwise live until the step's end.
        y, h_out = saved.y.detach(), [h.detach() for h in saved.h_out]
        is_last = cell.chunk == self._last_chunk
        (self.states.h_n if is_last else self._h)[cell.micro_batch] = h_out
        if x_after is not None:
            h_n = [leaf(decoding.spread(h, n_decoding)) for h in h_out]
            saved.after = self._run(cell, x_after, h_n, key.after())
            y = decoding.join(y, saved.after.y.detach(), n_decoding)
        if torch.is_grad_enabled():
            self._saved[cell] = saved
        handed = h_out[-1] if is_last and self._group.gives_state else None
        return [Parcel(cell, y, handed)]

    def state(self, micro_batch: int) -> list[Tensor]:
        """Return the state that enters each block with the next cell; [] for the first one."""
        return self._h.get(micro_batch, [])

    def forget(self, cell: Cell) -> None:
        """Let go of what F of a cell has saved."""
        self._saved.pop(cell, None)

    def again(self, parcel: Parcel, state: Sequence[Tensor]) -> list[Parcel]:
        """Run F on a cell again, for its B alone, from the state that entered it."""
        h, h_n = dict(self._h), dict(self.states.h_n)
        self._h[parcel.cell.micro_batch] = list(state)
        found = self.forward(parcel)
        self._h, self.states.h_n = h, h_n
        return found

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Run B on a cell."""
        cell = parcel.cell
        saved = self._saved[cell] if self.gradients[0].keep else self._saved.pop(cell)
        dy, dh = parcel.tensor, self._dh
        if cell.chunk == self._last_chunk:
            dh = self._ending(cell.micro_batch, parcel.state)
        elif cell.chunk + 1 in self.spec.segments.first_chunks:
            dh = [None for _ in saved.h_out]
        dx_after = None
        n_decoding = self.spec.cells.n_decoding_in(cell)
        if saved.after is not None and dy is not None:
            dy, dy_after = decoding.split(dy, n_decoding)
            dx_after, dh_after = self._back(saved.after, dy_after, [None for _ in dh])
            dh = [_with_those_after(*pair, n_decoding) for pair in zip(dh, dh_after, strict=True)]
        dx, self._dh = self._back(saved, dy, dh)
        if cell.chunk == 0:
            self.states.dh_0[cell.micro_batch] = self._dh
        if not self._wants_dx:
            return []
        dx = torch.zeros_like(saved.x) if dx is None else dx
        if saved.after is not None:
            none = torch.zeros_like(saved.after.x)
            dx = decoding.join(dx, none if dx_after is None else dx_after, n_decoding)
        return [Parcel(cell, dx)]

    def _can_tape(self, cell: Cell, x: Tensor, h_in: Sequence[Tensor]) -> bool:
        """Whether F of a cell needs no autograd."""
        cells = self.spec.cells
        if self.spec.purpose is not Purpose.TRAIN or not self._group.can_tape:
            return False
        is_whole = cells.n_active(cell) == cells.n_rows(cell.micro_batch)
        if not is_whole or cells.ragged_sizes(cell) is not None:
            return False
        if {h.dtype for h in h_in} != {x.dtype} or x.dtype != self._group.weights[0].dtype:
            return False
        # They want to see what autograd does.
        has_hooks = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
        return not (has_hooks or torch.is_anomaly_enabled())

    def _back(
        self, saved: Saved, dy: Tensor | None, dh: Sequence[Tensor | None]
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        """Run B of what has been saved; return the gradients of x and of each block's h_in."""
        # What a block learns to start from is a weight, not an input.
        is_input = [h.requires_grad and h.is_leaf for h in saved.h_in]
        if saved.tape is not None:
            return self._back_on_tape(saved, saved.tape, dy, dh, is_input)
        inputs = [h for h, wanted in zip(saved.h_in, is_input, strict=True) if wanted]
        inputs = [saved.x, *inputs] if self._wants_dx else inputs
        roots, root_gradients = [saved.y, *saved.h_out], [dy, *dh]
        found = iter(self.gradients[0].of_inputs(roots, root_gradients, inputs))
        dx = next(found) if self._wants_dx else None
        return dx, [next(found) if wanted else None for wanted in is_input]

    def _back_on_tape(
        self,
        saved: Saved,
        tape: Tape,
        dy: Tensor | None,
        dh: Sequence[Tensor | None],
        is_input: Sequence[bool],
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        """Do the same by a tape."""
        counts = [block.num_layers for block in self.states.blocks]
        pairs = zip(dh, counts, strict=True)
        of_layers = [h for dh, n in pairs for h in ([None] * n if dh is None else dh.split(1))]
        each = zip(saved.h_in, counts, strict=True)
        are_wanted = [h.requires_grad for h, n in each for _ in range(n)]
        with _without_autograd(saved.x):
            dx, dh_0 = tape.back(dy, of_layers, wants_dx=self._wants_dx, wants_dh_0=are_wanted)
            rest = iter(dh_0)
            found = [_joined([next(rest) for _ in range(n)]) for n in counts]
        # What a block learns to start from has a history.
        learned = [h for h, known in zip(saved.h_in, is_input, strict=True) if not known]
        of_learned = [dh for dh, known in zip(found, is_input, strict=True) if not known]
        self.gradients[0].of_inputs(learned, of_learned, [])
        return dx, [dh if known else None for dh, known in zip(found, is_input, strict=True)]

    def _run(self, cell: Cell, x: Tensor, h_in: list[Tensor], key: DropoutKey) -> Saved:
        """Run F of a cell's steps, or of those of it after the window."""
        cells, blocks, is_own = self.spec.cells, self.states.blocks, self._group.is_own
        n_active, n_rows = cells.n_active(cell), cells.n_rows(cell.micro_batch)
        x = leaf(x) if self._wants_dx else x
        if n_active == 0:
            nothing = x.new_zeros(0, 0, blocks[-1].output_size)
            return Saved(x, h_in, list(h_in), nothing, None)
        tape = self.gradients[0].tape(cell) if torch.is_grad_enabled() else None
        is_taped = tape is not None and self._can_tape(cell, x, h_in)
        given: list[Any] = [key, cells.ragged_sizes(cell), *([] if is_own else [tape])]
        # A leaf itself could not be changed in place.
        y = x.clone() if is_own else x
        h_out: list[Tensor] = []
        with _without_autograd(x) if is_taped else nullcontext():
            for block, h in zip(blocks, h_in, strict=True):
                if n_active == n_rows:
                    y, h_n = block(y, h, *given)
                else:
                    # Rows that have ended keep the state in which they did.
                    y, running = block(y, h[:, :n_active].contiguous(), *given)
                    h_n = torch.cat([running, h[:, n_active:]], dim=1)
                h_out.append(h_n)
        if torch.is_grad_enabled() and is_own:
            self.gradients[0].check_leaves("A block", (y, *h_out), [x, *h_in])
        return Saved(x, h_in, h_out, y, tape if is_taped else None)

    def _ending(self, micro_batch: int, state: Tensor | None) -> list[Tensor | None]:
        """Return the gradient of the state that leaves each block at the end."""
        gradients = list(self.states.dh_n.get(micro_batch, [None for _ in self.states.blocks]))
        if state is not None:
            last = gradients[-1]
            gradients[-1] = state if last is None else last + state
        return gradients


def _with_those_after(dh: Tensor | None, dh_after: Tensor | None, n_decoding: int) -> Tensor | None:
    """Add to the gradient of h_n what comes from the steps after the window."""
    if dh_after is None:
        return dh
    of_all = decoding.gathered(dh_after, n_decoding)
    return of_all if dh is None else dh + of_all


@contextmanager
def _without_autograd(x: Tensor) -> Iterator[None]:
    """Inside, operators do what they are told: nothing is recorded, and nothing cast."""
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        yield


def _joined(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Put the gradients of a block's layers together; all of them are there, or none is."""
    there = [gradient for gradient in gradients if gradient is not None]
    return there[0] if len(there) == 1 else torch.cat(there) if there else None


def dropout_key(spec: PassSpec, cell: Cell) -> DropoutKey:
    """Name the random numbers of a cell."""
    numbers = spec.seed, spec.step, spec.first_micro_batch + cell.micro_batch, cell.chunk
    return DropoutKey(*numbers) if spec.masks is None else RecordedKey(*numbers, spec.masks)
