"""A stage: the blocks of one device, their saved activations, carried h and dL/dh.

Knows no communication.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gru_parallel.engine.cells import Cells
from gru_parallel.engine.lane import Lane
from gru_parallel.errors import ScheduleError
from gru_parallel.model import DropoutKey, GRUBlock, SumLoss, hidden
from gru_parallel.model.head import Head

CellIndex = tuple[int, int]
"""(micro-batch, chunk)."""


@dataclass(frozen=True)
class StageModules:
    """What a stage runs.

    Attributes:
        encoder: only on the first stage.
        blocks: the consecutive blocks of the stage.
        head: only on the last stage.
    """

    encoder: nn.Module | None
    blocks: tuple[GRUBlock, ...]
    head: Head | None

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """All of them, in the order of the data."""
        return tuple(m for m in (self.encoder, *self.blocks, self.head) if m is not None)

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters in the model's order."""
        return [parameter for module in self.modules for parameter in module.parameters()]


@dataclass(frozen=True)
class Batch:
    """One batch, as every stage sees it.

    Attributes:
        cells: how it is cut.
        x: windows, shape (batch, time, n_channels).
        y: targets, batch first; None where only predictions are wanted.
        loss: what is minimised; None where only predictions are wanted.
        seed: of the run, for dropout.
        step: number of batches trained on before, for dropout.
        check_finite: whether stages look for outputs that are not finite.
    """

    cells: Cells
    x: Tensor
    y: Tensor | None = None
    loss: SumLoss | None = None
    seed: int = 0
    step: int = 0
    check_finite: bool = False


@dataclass
class Saved:
    """What F keeps of a cell for B."""

    x: Tensor
    h_in: list[Tensor]
    h_out: list[Tensor]
    y: Tensor | None


@dataclass
class StageResult:
    """What a step leaves on a stage.

    Attributes:
        loss: the batch's loss so far, a scalar; only on the last stage, with targets.
        predictions: by cell, batch first; only on the last stage, without targets.
        gradients: of each parameter of the stage, in the order of `StageModules.parameters`.
        peak_cells: the most cells whose activations were alive at once.
        finite: False where the batch was to be checked and an output is not finite.
    """

    loss: Tensor | None = None
    predictions: dict[CellIndex, Tensor] = field(default_factory=dict)
    gradients: list[Tensor | None] = field(default_factory=list)
    peak_cells: int = 0
    finite: bool = True


class Stage:
    """Runs F and B of cells through a device's blocks, with exact back-propagation through time.

    Within a micro-batch h passes from chunk to chunk in F and dL/dh back in B, and neither leaves
    the stage.
    """

    def __init__(self, index: int, name: str, modules: StageModules, lane: Lane) -> None:
        self.index = index
        self.name = name
        self.modules = modules
        self.lane = lane
        self._forget()

    def _forget(self) -> None:
        self._parameters: list[nn.Parameter] = []
        self._gradients: list[Tensor | None] = []
        self._own_sums: set[int] = set()
        self._h: dict[int, list[Tensor]] = {}
        self._dh: list[Tensor | None] = []
        self._saved: dict[CellIndex, Saved] = {}
        self._result = StageResult()

    @property
    def is_first(self) -> bool:
        """Whether the stage reads the batch itself."""
        return self.modules.encoder is not None

    @property
    def is_last(self) -> bool:
        """Whether the stage ends in the head."""
        return self.modules.head is not None

    def place(self) -> None:
        """Move the stage's parameters to its device."""
        for module in self.modules.modules:
            module.to(self.lane.device)

    def begin(self, batch: Batch) -> None:
        """Get ready for `batch`."""
        # A step that was interrupted never came to `end`; what it left must not leak into this one.
        self._forget()
        self._batch = batch
        self._next_backward: CellIndex = (0, batch.cells.n_chunks - 1)
        self._parameters = [p for p in self.modules.parameters() if p.requires_grad]
        self._gradients = [None for _ in self._parameters]

    def forward(self, cell: CellIndex, received: Tensor | None) -> Tensor | None:
        """Run F on a cell.

        Args:
            cell: which one.
            received: outputs of the stage before, shape (time, batch, features); None on the first
                stage.

        Returns:
            Outputs for the next stage, shape (time, batch, hidden_size); None on the last stage.
        """
        x = self._cell_input(cell, received)
        h_in = self._entering_states(cell, x.shape[1])
        y, h_out = self._run_blocks(cell, x, h_in)
        if cell[1] < self._batch.cells.n_chunks - 1:
            # Detached: h_out's graph is for B alone, and would otherwise live until the step's end.
            self._h[cell[0]] = [h.detach() for h in h_out]
        self._note_if_not_finite(y)
        out = self._finish(cell, y) if self.is_last else y
        if torch.is_grad_enabled():
            self._saved[cell] = Saved(x, h_in, h_out, out)
            self._result.peak_cells = max(self._result.peak_cells, len(self._saved))
        return None if self.is_last else y.detach()

    def backward(self, cell: CellIndex, dy: Tensor | None) -> Tensor | None:
        """Run B on a cell: towards the inputs and, with it, the weights' gradient.

        Args:
            cell: which one; micro-batches ascend, chunks descend.
            dy: gradient of the outputs, from the next stage; None on the last stage.

        Returns:
            Gradient of the inputs, for the stage before; None on the first stage.

        Raises:
            ScheduleError: the cell is not the next in that order.
        """
        self._check_backward_order(cell)
        saved = self._saved.pop(cell)
        roots, root_gradients = self._roots(saved, dy)
        sources = [] if self.is_first else [saved.x]
        sources += [h for h in saved.h_in if h.requires_grad]
        if not roots:
            self._dh = []
            return None if self.is_first else torch.zeros_like(saved.x)
        # As in plain training, autocast chooses the types of F only; B follows what F did.
        with torch.autocast(self.lane.device.type, enabled=False):
            found = torch.autograd.grad(
                roots, [*sources, *self._parameters], root_gradients, allow_unused=True
            )
        self._accumulate(found[len(sources) :])
        gradients = iter(found)
        dx = None if self.is_first else next(gradients)
        self._dh = [next(gradients) if h.requires_grad else None for h in saved.h_in]
        return dx

    def end(self) -> StageResult:
        """Return what the step left and let go of everything else."""
        by_id = {id(p): g for p, g in zip(self._parameters, self._gradients, strict=True)}
        result = self._result
        result.gradients = [by_id.get(id(p)) for p in self.modules.parameters()]
        self._forget()
        return result

    def _cell_input(self, cell: CellIndex, received: Tensor | None) -> Tensor:
        if received is not None:
            return received.requires_grad_() if torch.is_grad_enabled() else received
        return self.lane.fetch(self._batch.cells.inputs(self._batch.x, *cell))

    def _entering_states(self, cell: CellIndex, batch_size: int) -> list[Tensor]:
        micro_batch, chunk = cell
        if chunk == 0:
            return [hidden.zeros(block, batch_size) for block in self.modules.blocks]
        states = self._h.pop(micro_batch)
        return [h.requires_grad_() for h in states] if torch.is_grad_enabled() else states

    def _run_blocks(
        self, cell: CellIndex, x: Tensor, h_in: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        key = DropoutKey(self._batch.seed, self._batch.step, *cell)
        y: Tensor = x if self.modules.encoder is None else self.modules.encoder(x)
        h_out = []
        for block, h in zip(self.modules.blocks, h_in, strict=True):
            y, h_n = block(y, h, key)
            h_out.append(h_n)
        return y, h_out

    def _finish(self, cell: CellIndex, y: Tensor) -> Tensor | None:
        """Run the head where the cell has targets; return the cell's loss, if there is one."""
        head, batch = self.modules.head, self._batch
        assert head is not None
        if not head.every_step and cell[1] != batch.cells.n_chunks - 1:
            return None
        prediction = head(y)
        self._note_if_not_finite(prediction)
        if batch.y is None or batch.loss is None:
            self._result.predictions[cell] = prediction
            return None
        target = self.lane.fetch(batch.cells.targets(batch.y, *cell, every_step=head.every_step))
        loss = batch.loss.total(prediction, target) / batch.loss.count(batch.y)
        summed = loss.detach() if self._result.loss is None else self._result.loss + loss.detach()
        self._result.loss = summed
        return loss

    def _note_if_not_finite(self, output: Tensor) -> None:
        if self._batch.check_finite and not output.isfinite().all():
            self._result.finite = False

    def _roots(self, saved: Saved, dy: Tensor | None) -> tuple[list[Tensor], list[Tensor | None]]:
        """Pair the cell's outputs with their gradients, as far as there are any."""
        pairs: list[tuple[Tensor | None, Tensor | None]] = [(saved.y, dy)]
        pairs += [(h, dh) for h, dh in zip(saved.h_out, self._dh, strict=False) if dh is not None]
        used = [(root, dr) for root, dr in pairs if root is not None and root.requires_grad]
        return [root for root, _ in used], [dr for _, dr in used]

    def _accumulate(self, found: Sequence[Tensor | None]) -> None:
        for index, gradient in enumerate(found):
            total = self._gradients[index]
            if gradient is None:
                continue
            if total is None:
                self._gradients[index] = gradient
            elif index in self._own_sums:
                total.add_(gradient)
            else:
                # autograd may have handed one tensor to several parameters: the first sum is new.
                self._gradients[index] = total + gradient
                self._own_sums.add(index)

    def _check_backward_order(self, cell: CellIndex) -> None:
        if cell != self._next_backward:
            raise ScheduleError(
                f"B of cell {cell} on stage {self.index} came where B of {self._next_backward} was"
                " due: backward runs micro-batches in ascending and chunks in descending order,"
                " or gradients are wrong."
            )
        micro_batch, chunk = cell
        if chunk > 0:
            self._next_backward = (micro_batch, chunk - 1)
        else:
            self._next_backward = (micro_batch + 1, self._batch.cells.n_chunks - 1)
