"""StagePass: one pass of a stage over one batch: F, B and W of its cells; no communication."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product, starmap

import torch
from torch import Tensor

from gru_parallel.errors import ScheduleError
from gru_parallel.model import BidirectionalBlock, Start
from gru_parallel.schedule import Cell, Op
from gru_parallel.stage.bidirectional_section import BidirectionalSection
from gru_parallel.stage.block_section import BlockSection, States
from gru_parallel.stage.cells import over_the_batch, part_of
from gru_parallel.stage.ends import EncoderSection, HeadSection, OutputSection
from gru_parallel.stage.recomputed_section import RecomputedSection, recomputed
from gru_parallel.stage.section import Parcel, Section
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import BlockGroup, Stage
from gru_parallel.stage.waiting_section import WaitingSection


class StagePass:
    """Runs F, B and W of a batch's cells through a stage, with exact back-propagation through time.

    Args:
        stage: whose blocks run.
        spec: over what, and what for.

    Attributes:
        peak_cells: the most cells whose activations were alive at once, to the end of W if there
            is one; see `Timeline.cells_alive`.
        finite: False where that was to be checked and an output is not finite.
        dx: by cell, the gradient of x, shape (time, rows, n_channels); where it was wanted.
        send_to: by op (F or B) and cell, memory on another stage's device that its result is to be
            copied into; where there is none, new memory is made.
        head: the section at the end of the last stage; None elsewhere.
    """

    def __init__(self, stage: Stage, spec: PassSpec) -> None:
        self.stage = stage
        self.spec = spec
        self.peak_cells = 0
        self.finite = True
        self.dx: dict[Cell, Tensor] = {}
        self.send_to: Mapping[tuple[Op, Cell], Parcel] = {}
        self.states: list[States] = []
        self.head: HeadSection | OutputSection | None = None
        self._n_alive = 0
        sections = list(self._make_sections())
        self._sections = recomputed(spec, sections) if spec.recompute else sections
        self._due = self._backward_order()

    def forward(self, cell: Cell, received: Parcel | None) -> list[Parcel]:
        """Run F on a cell.

        Args:
            cell: which one.
            received: outputs of the stage before; None on the first stage.

        Returns:
            Outputs for the next stage, of this cell or, where a barrier held cells back, of none or
            several; none on the last stage.
        """
        if self.stage.is_first:
            x = self.spec.cells.inputs(self.spec.windows.x, cell)
            received = Parcel(cell, self.stage.lane.fetch(x).detach())
        if received is None:
            raise ScheduleError(f"F of {cell} on stage {self.stage.index} has received no input.")
        parcels = [received]
        for section in self._sections:
            parcels = [out for parcel in parcels for out in section.forward(parcel)]
            if self.spec.purpose is Purpose.CHECK:
                self._check_finite(parcels)
        if torch.is_grad_enabled():
            self._n_alive += 1
            self.peak_cells = max(self.peak_cells, self._n_alive)
        return parcels

    def backward(self, cell: Cell, received: Parcel | None) -> list[Parcel]:
        """Run B on a cell: towards the inputs and, where W is not separate, the weights' gradient.

        Args:
            cell: which one; micro-batches ascend, chunks descend (within their segment).
            received: gradient of the outputs, from the next stage; None on the last stage.

        Returns:
            Gradients for the stage before, of this cell or, where a barrier held them back, of none
            or several; none on the first stage.

        Raises:
            ScheduleError: the cell is not the next in that order.
        """
        due = next(self._due, None)
        if cell != due:
            raise ScheduleError(
                f"B of cell {cell} on stage {self.stage.index} came where"
                f" {'no B' if due is None else f'B of {due}'} was due: backward runs micro-batches"
                " in ascending and chunks in descending order, or gradients are wrong."
            )
        parcels = [Parcel(cell, None) if received is None else received]
        for section in reversed(self._sections):
            parcels = [out for parcel in parcels for out in section.backward(parcel)]
        if not self.spec.separates_weights:
            self._n_alive -= 1
        if not self.stage.is_first:
            return parcels
        self.dx |= {p.cell: p.tensor for p in parcels if p.tensor is not None}
        return []

    def weights(self, cell: Cell) -> None:
        """Run W on a cell: work out what its B has left of the weights' gradients."""
        with torch.no_grad(), torch.autocast(self.stage.lane.device.type, enabled=False):
            for section in self._sections:
                for gradients in section.gradients:
                    gradients.work_out(cell)
        self._n_alive -= 1

    def weight_gradients(self) -> list[Tensor | None]:
        """Return the gradient of each weight of the stage, in the order of `StageModules.weights`.

        Raises:
            ScheduleError: B of a cell has left some, and its W has not run.
        """
        found = (gradients for section in self._sections for gradients in section.gradients)
        return [gradient for gradients in found for gradient in gradients.of_weights()]

    def h_n(self) -> Tensor:
        """Return the states in which the batch left the blocks, (n_states, batch, hidden_size)."""
        return self._over_the_batch(lambda states, m: states.h_n[m])

    def dh_0(self) -> Tensor:
        """Return the gradient of the batch's h_0, of the same shape; zero where it is not read."""

        def given(states: States, micro_batch: int) -> list[Tensor | None]:
            pairs = zip(states.blocks, states.dh_0[micro_batch], strict=True)
            return [dh if block.h_0 == "given" else None for block, dh in pairs]

        return self._over_the_batch(given)

    def give_gradients(self, dy: Tensor | None, dh_n: Tensor | None) -> None:
        """Get ready for B, for the first time or once more, from gradients that come from outside.

        Args:
            dy: gradient of the last stage's outputs, shape (batch, time, features); None for none.
            dh_n: gradient of the whole stack's h_n, (n_states, batch, hidden_size); None for none.
        """
        self._due = self._backward_order()
        for section in self._sections:
            for gradients in section.gradients:
                gradients.forget()
        if isinstance(self.head, OutputSection):
            self.head.gradients_of_outputs = {} if dy is None else self._cells_of(dy)
        for states, group in zip(self.states, self.stage.modules.groups, strict=True):
            states.dh_n = {} if dh_n is None else self._states_of(dh_n, group)

    def reads(self) -> list[Tensor]:
        """List the tensors of the batch, which may be on other devices than the stage's."""
        windows = self.spec.windows
        of_end = (windows.y, windows.scale, windows.weight)
        batch = (windows.x, windows.h_0, windows.reset, *of_end)
        return [tensor for tensor in batch if tensor is not None]

    def take_outputs(self) -> Tensor:
        """Give up the outputs of the last stage, shape (time, batch, features)."""
        assert isinstance(self.head, OutputSection)
        y = over_the_batch(self.head.outputs, self.spec.cells)
        self.head.outputs.clear()
        return y

    def commit(self) -> None:
        """Let the next batch start from where this one ended, for blocks that carry their state."""
        purpose = self.spec.purpose
        if not self.stage.modules.carries or purpose is Purpose.CHECK:
            return
        carried = self.stage.carried
        if purpose is Purpose.TRAIN:
            # To look into this batch again, should its loss be wrong.
            before = carried.pop(Purpose.TRAIN.value, None)
            carried.pop(Purpose.CHECK.value, None)
            carried |= {} if before is None else {Purpose.CHECK.value: before}
        carried[purpose.value] = self.h_n()

    def _make_sections(self) -> Iterator[Section]:
        """Cut the stage before and after each barrier in time."""
        stage, spec, modules = self.stage, self.spec, self.stage.modules
        wants_dx = spec.wants_dx or not stage.is_first
        if modules.encoder is not None:
            encoder = EncoderSection(spec, modules.encoder)
            wants_dx = wants_dx or encoder.gradients[0].is_trained
            yield encoder
        start = self._start()
        for group in modules.groups:
            states = States(group, start, spec, stage.lane)
            self.states.append(states)
            if isinstance(group.blocks[0], BidirectionalBlock):
                second = stage.second_device
                yield BidirectionalSection(
                    spec, group, states, wants_dx=wants_dx, lane=stage.lane, second_device=second
                )
            else:
                blocks = BlockSection(spec, group, states, wants_dx=wants_dx)
                waits = group.blocks[0].h_0 == "previous"
                yield self._waiting(blocks) if waits else blocks
            wants_dx = True
        if stage.is_last:
            head = modules.head
            self.head = OutputSection() if head is None else HeadSection(spec, head, stage.lane)
            yield self.head

    def _waiting(self, blocks: BlockSection) -> WaitingSection:
        is_recomputed = self.spec.recompute
        return WaitingSection(
            blocks, RecomputedSection(self.spec, blocks) if is_recomputed else blocks
        )

    def _start(self) -> Start:
        """Return what the blocks of the stage may start from, over the whole batch."""
        return start_of(self.stage, self.spec)

    def _cells_of(self, dy: Tensor) -> dict[Cell, Tensor]:
        """Cut the gradient of the outputs, shape (batch, time, features)."""
        cells, fetch = self.spec.cells, self.stage.lane.fetch
        return {cell: fetch(cells.inputs(dy, cell)) for cell in cells.grid()}

    def _states_of(self, dh_n: Tensor, group: BlockGroup) -> dict[int, list[Tensor | None]]:
        """Cut the gradient of the whole stack's h_n, by micro-batch and block."""
        of_stage, fetch = part_of(dh_n, 0, self.stage.modules.state_slice), self.stage.lane.fetch
        of_blocks = [part_of(of_stage, 0, of_block) for of_block in group.slices]
        return {
            m: [fetch(part_of(dh, 1, rows)) for dh in of_blocks]
            for m, rows in enumerate(self.spec.cells.rows)
        }

    def _backward_order(self) -> Iterator[Cell]:
        micro_batches = range(self.spec.cells.n_micro_batches)
        return starmap(Cell, product(micro_batches, self.spec.segments.backward_order))

    def _over_the_batch(self, of: Callable[[States, int], Sequence[Tensor | None]]) -> Tensor:
        modules, cells = self.stage.modules, self.spec.cells
        block = modules.blocks[0]
        shape = (modules.n_states, cells.batch_size, block.hidden_size)
        found: Tensor | None = None
        for m, rows in enumerate(cells.rows):
            for states, group in zip(self.states, modules.groups, strict=True):
                for of_block, part in zip(group.slices, of(states, m), strict=True):
                    if part is not None:
                        found = part.new_zeros(shape) if found is None else found
                        found[of_block, rows] = part
        if found is None:
            dtype = block.some_weight.dtype
            return torch.zeros(shape, device=self.stage.lane.device, dtype=dtype)
        return found

    def _check_finite(self, parcels: Sequence[Parcel]) -> None:
        outputs = [parcel.tensor for parcel in parcels if parcel.tensor is not None]
        self.finite = self.finite and all(bool(y.isfinite().all()) for y in outputs)
        if isinstance(self.head, HeadSection):
            self.finite = self.finite and self.head.finite


def start_of(stage: Stage, spec: PassSpec) -> Start:
    """Return what the blocks of a stage may start a batch from, over the whole batch."""
    windows, carried = spec.windows, stage.carried.get(spec.purpose.value)
    h_0 = None if windows.h_0 is None else windows.h_0[stage.modules.state_slice]
    start = Start(h_0, carried, windows.reset)
    return start if carried is None else start.for_rows(spec.cells.batch_size)
