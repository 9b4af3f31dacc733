"""StagePass: one pass of a stage over one batch: F and B of its cells. Knows no communication."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product, starmap

import torch
from torch import Tensor

from gru_parallel.errors import ScheduleError
from gru_parallel.model import BidirectionalBlock, Block, Start, SumLoss
from gru_parallel.schedule import Cell
from gru_parallel.stage.bidirectional_section import BidirectionalSection
from gru_parallel.stage.block_section import BlockSection, States, WaitingSection
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.section import EncoderSection, Parcel, PassSetting, Section
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.tail import HeadTail, OutputTail

TRAINING, PREDICTION, CHECK = "training", "prediction", "check"
"""Uses of a pass, each with carried states of its own."""

StatesOfMicroBatch = Callable[[States, int], Sequence[Tensor | None]]


@dataclass(frozen=True)
class Batch:
    """One batch, as every stage sees it.

    Attributes:
        cells: how it is cut.
        x: windows, shape (batch, time, n_channels).
        y: targets, batch first; None where only predictions are wanted.
        loss: what is minimised; None where only predictions are wanted.
        n_elements: what the loss is divided by; None where only predictions are wanted.
        start: what blocks may start from; its `carried` is not read, the stages keep their own.
        use: which of the carried states are gone on from: TRAINING, PREDICTION, or CHECK, those
            that the last training batch began with.
        seed: of the run, for dropout.
        step: number of batches trained on before, for dropout.
        truncate: chunks of a segment, at whose start gradients of the state end; None for none.
        check_finite: whether stages look for outputs that are not finite.
        wants_dx: whether the gradient of x is wanted.
        wants_dy: whether the gradient of y is wanted.
        keep: whether B leaves in place what F saved, for a second B.
        first_micro_batch: number of the first micro-batch in the whole batch, for dropout.
    """

    cells: Cells
    x: Tensor
    y: Tensor | None = None
    loss: SumLoss | None = None
    n_elements: int | None = None
    start: Start = field(default_factory=Start)
    use: str = PREDICTION
    seed: int = 0
    step: int = 0
    truncate: int | None = None
    check_finite: bool = False
    wants_dx: bool = False
    wants_dy: bool = False
    keep: bool = False
    first_micro_batch: int = 0

    @property
    def devices(self) -> set[torch.device]:
        """Where the batch lies."""
        tensors = (self.x, self.y, self.start.h_0, self.start.reset)
        return {tensor.device for tensor in tensors if tensor is not None and not tensor.is_meta}


class StagePass:
    """Runs F and B of a batch's cells through a stage, with exact back-propagation through time.

    Args:
        stage: whose blocks run.
        batch: what they run over.

    Attributes:
        peak_cells: the most cells whose activations were alive at once.
        finite: False where the batch was to be checked and an output is not finite.
        dx: by cell, the gradient of x, shape (time, rows, n_channels); where it was wanted.
    """

    def __init__(self, stage: Stage, batch: Batch) -> None:
        self.stage = stage
        self.batch = batch
        self.peak_cells = 0
        self.finite = True
        self.dx: dict[Cell, Tensor] = {}
        self._n_alive = 0
        self._next_backward = Cell(0, self._last_of_segment(0))
        self._setting = PassSetting(
            batch.cells,
            stage.lane,
            batch.seed,
            batch.step,
            batch.truncate,
            batch.keep,
            batch.first_micro_batch,
        )
        carried = Start(carried=stage.carried.get(batch.use), reset=batch.start.reset)
        self._carried = carried.for_rows(batch.cells.batch_size).carried
        self.states: list[States] = []
        self.tail = self._make_tail()
        self._sections = [*self._make_sections(), *([] if self.tail is None else [self.tail])]

    def forward(self, cell: Cell, received: Parcel | None) -> list[Parcel]:
        """Run F on a cell.

        Args:
            cell: which one.
            received: outputs of the stage before; None on the first stage.

        Returns:
            Outputs for the next stage, of this cell or, where a barrier held cells back, of none or
            several; none on the last stage.
        """
        micro_batch, chunk = cell
        if self.stage.is_first:
            x = self.batch.cells.inputs(self.batch.x, cell)
            received = Parcel(chunk, self.stage.lane.fetch(x).detach())
        if received is None:
            raise ScheduleError(f"F of {cell} on stage {self.stage.index} has received no input.")
        parcels = [received]
        for section in self._sections:
            parcels = [out for parcel in parcels for out in section.forward(micro_batch, parcel)]
            if section is not self.tail:
                self._check_finite(parcels)
        if torch.is_grad_enabled():
            self._n_alive += 1
            self.peak_cells = max(self.peak_cells, self._n_alive)
        return parcels

    def backward(self, cell: Cell, received: Parcel | None) -> list[Parcel]:
        """Run B on a cell: towards the inputs and, with it, the weights' gradient.

        Args:
            cell: which one; micro-batches ascend, chunks descend (within their segment).
            received: gradient of the outputs, from the next stage; None on the last stage.

        Returns:
            Gradients for the stage before, of this cell or, where a barrier held them back, of none
            or several; none on the first stage.

        Raises:
            ScheduleError: the cell is not the next in that order.
        """
        self._check_backward_order(cell)
        micro_batch, chunk = cell
        parcels = [Parcel(chunk, None) if received is None else received]
        for section in reversed(self._sections):
            parcels = [out for parcel in parcels for out in section.backward(micro_batch, parcel)]
        self._n_alive -= 1
        if not self.stage.is_first:
            return parcels
        self.dx |= {Cell(micro_batch, p.chunk): p.tensor for p in parcels if p.tensor is not None}
        return []

    def weight_gradients(self) -> list[Tensor | None]:
        """Return the gradient of each weight of the stage, in the order of `Stage.weights`."""
        return [g for section in self._sections for g in section.weight_gradients()]

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
        """Say what to back-propagate from, where the outputs are used outside.

        Args:
            dy: gradient of the last stage's outputs, shape (batch, time, features); None for none.
            dh_n: gradient of the whole stack's h_n, (n_states, batch, hidden_size); None for none.
        """
        cells = self.batch.cells
        if isinstance(self.tail, OutputTail):
            grid = starmap(Cell, product(range(cells.n_micro_batches), range(cells.n_chunks)))
            self.tail.gradients_of_outputs = (
                {} if dy is None else {cell: self._fetch(cells.inputs(dy, cell)) for cell in grid}
            )
        for states in self.states:
            states.dh_n.clear()
        if dh_n is None:
            return
        of_block = dict(zip(self.stage.modules.blocks, self.stage.modules.states, strict=True))
        for states in self.states:
            for m, rows in enumerate(cells.rows):
                states.dh_n[m] = [
                    self._fetch(dh_n[of_block[block], rows]) for block in states.blocks
                ]

    def again(self) -> None:
        """Get ready for a second B over what the F of a pass with `keep` saved."""
        self._next_backward = Cell(0, self._last_of_segment(0))
        for section in self._sections:
            section.forget_gradients()

    def commit(self) -> None:
        """Let the next batch go on from where this one ended, for blocks that carry their state."""
        if not self.stage.modules.carries or self.batch.use == CHECK:
            return
        carried = self.stage.carried
        if self.batch.use == TRAINING:
            # To look into this batch again, should its loss be wrong.
            before = carried.pop(TRAINING, None)
            carried.pop(CHECK, None)
            carried |= {} if before is None else {CHECK: before}
        carried[self.batch.use] = self.h_n()

    def _make_sections(self) -> Iterable[Section]:
        """Cut the stage before and after each barrier in time."""
        modules, wants_dx = self.stage.modules, self.batch.wants_dx or not self.stage.is_first
        if modules.encoder is not None:
            encoder = EncoderSection(self._setting, modules.encoder, wants_dx=wants_dx)
            wants_dx = wants_dx or bool(encoder.gradients.trained)
            yield encoder
        groups = group_blocks(modules.blocks)
        for index, blocks in enumerate(groups):
            is_last = index == len(groups) - 1
            after = None if is_last else groups[index + 1][0]
            gives = modules.gives_state if after is None else after.h_0 == "previous"
            states = States(blocks, [self._start(block) for block in blocks])
            self.states.append(states)
            if isinstance(blocks[0], BidirectionalBlock):
                yield BidirectionalSection(
                    self._setting,
                    states,
                    wants_dx=wants_dx,
                    gives_state=gives,
                    assistant=self.stage.assistant,
                )
            else:
                section = BlockSection(self._setting, states, wants_dx=wants_dx, gives_state=gives)
                yield WaitingSection(section) if blocks[0].h_0 == "previous" else section
            wants_dx = True

    def _make_tail(self) -> HeadTail | OutputTail | None:
        head, batch = self.stage.modules.head, self.batch
        if not self.stage.is_last:
            return None
        if head is None:
            return OutputTail(self._setting)
        return HeadTail(
            self._setting,
            head,
            batch.y,
            batch.loss,
            batch.n_elements,
            check_finite=batch.check_finite,
            wants_dy=batch.wants_dy,
        )

    def _start(self, block: Block) -> Start:
        """Return what a block may start from, over the whole batch."""
        modules, h_0 = self.stage.modules, self.batch.start.h_0
        states = modules.states[modules.blocks.index(block)]
        first = modules.states[0].start
        carried = None
        if self._carried is not None:
            carried = self._carried[states.start - first : states.stop - first]
        return Start(None if h_0 is None else h_0[states], carried)

    def _over_the_batch(self, of: StatesOfMicroBatch) -> Tensor:
        cells = self.batch.cells
        blocks = self.stage.modules.blocks
        weight = blocks[0].some_weight
        shape = (self.stage.modules.n_states, cells.batch_size, blocks[0].hidden_size)
        found: Tensor | None = None
        for m, rows in enumerate(cells.rows):
            first = 0
            for states in self.states:
                for block, part in zip(states.blocks, of(states, m), strict=True):
                    stop = first + block.n_states
                    if part is not None:
                        if found is None:
                            found = part.new_zeros(shape)
                        found[first:stop, rows] = part
                    first = stop
        if found is None:
            return torch.zeros(shape, device=self.stage.lane.device, dtype=weight.dtype)
        return found

    def _fetch(self, tensor: Tensor) -> Tensor:
        return self.stage.lane.fetch(tensor)

    def _check_finite(self, parcels: Sequence[Parcel]) -> None:
        if self.batch.check_finite:
            outputs = [parcel.tensor for parcel in parcels if parcel.tensor is not None]
            self.finite = self.finite and all(bool(y.isfinite().all()) for y in outputs)

    def _last_of_segment(self, chunk: int) -> int:
        """The chunk at which B of the segment of `chunk` begins."""
        last = self.batch.cells.n_chunks - 1
        if self.batch.truncate is None:
            return last
        return min(last, (chunk // self.batch.truncate + 1) * self.batch.truncate - 1)

    def _check_backward_order(self, cell: Cell) -> None:
        if cell != self._next_backward:
            raise ScheduleError(
                f"B of cell {cell} on stage {self.stage.index} came where B of"
                f" {self._next_backward} was due: backward runs micro-batches in ascending and"
                " chunks in descending order, or gradients are wrong."
            )
        micro_batch, chunk = cell
        if not self._setting.begins_segment(chunk):
            self._next_backward = Cell(micro_batch, chunk - 1)
            return
        after = self._last_of_segment(chunk) + 1
        if after < self.batch.cells.n_chunks:
            self._next_backward = Cell(micro_batch, self._last_of_segment(after))
        else:
            self._next_backward = Cell(micro_batch + 1, self._last_of_segment(0))


def group_blocks(blocks: Sequence[Block]) -> list[list[Block]]:
    """Cut blocks where a barrier in time stands: each group runs as one section.

    A block that runs in both directions is a group of its own; one that starts from the h_n of the
    block before begins a group.
    """
    groups: list[list[Block]] = []
    for block in blocks:
        if groups and not block.is_barrier and groups[-1][0].n_directions == 1:
            groups[-1].append(block)
        else:
            groups.append([block])
    return groups
