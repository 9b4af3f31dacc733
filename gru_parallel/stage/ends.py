"""The sections at the ends of the stack: encoder; head with loss, or the outputs as they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gru_parallel.model import Output, looks_beyond
from gru_parallel.model.head import HEADS, Head, scores_of
from gru_parallel.model.loss import weighted_total
from gru_parallel.model.ragged import zero_after_the_end
from gru_parallel.schedule import Cell
from gru_parallel.stage.cells import Cells, Index
from gru_parallel.stage.gradients import SectionGradients, leaf
from gru_parallel.stage.lane import Lane
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.spec import PassSpec, Purpose


class EncoderSection:
    """The encoder, at the beginning of the first stage.

    Args:
        spec: of the pass.
        encoder: works on each step of each row alone.
    """

    def __init__(self, spec: PassSpec, encoder: nn.Module) -> None:
        self.gradients = (SectionGradients(list(encoder.parameters()), spec),)
        self._encoder = encoder
        self._wants_dx = spec.wants_dx
        self._saved: dict[Cell, tuple[Tensor, Tensor]] = {}

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Encode a cell."""
        assert parcel.tensor is not None
        x = leaf(parcel.tensor) if self._wants_dx else parcel.tensor
        # A leaf itself could not be changed in place.
        y: Tensor = self._encoder(x.clone() if self._wants_dx else x)
        if y.requires_grad:
            self._saved[parcel.cell] = x, y
            self.gradients[0].check_leaves("The encoder", [y], [x])
        return [Parcel(parcel.cell, y.detach())]

    def forget(self, cell: Cell) -> None:
        """Let go of what F of a cell has saved."""
        self._saved.pop(cell, None)

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Find the weights' gradient and, where it is wanted, that of x."""
        x, y = self._saved.pop(parcel.cell, (None, None))
        if parcel.tensor is None or x is None or y is None:
            return []
        found = self.gradients[0].of_inputs([y], [parcel.tensor], [x] if self._wants_dx else [])
        return [Parcel(parcel.cell, dx) for dx in found]


class HeadSection:
    """The head, and the loss in training, at the end of the last stage.

    Args:
        spec: of the pass.
        head: from outputs to predictions.
        lane: of the stage.

    Attributes:
        predictions: by cell, batch first, of the rows of `index_of`; but in training.
        total: the batch's loss so far, a scalar; in training.
        finite: whether all predictions so far are finite; kept up to date where that is checked.
        dy: by cell, the gradient of the targets of its `index_of`; where it was wanted.
    """

    def __init__(self, spec: PassSpec, head: Head, lane: Lane) -> None:
        self.gradients = (SectionGradients(list(head.parameters()), spec),)
        self._spec = spec
        self._head = head
        self._lane = lane
        self._saved: dict[Cell, tuple[Tensor, Tensor, Tensor]] = {}
        self.predictions: dict[Cell, Tensor] = {}
        self.total: Tensor | None = None
        self.finite = True
        self.dy: dict[Cell, Tensor] = {}

    @property
    def every_step(self) -> bool:
        """Whether there is one prediction per step, and not one per window."""
        return self._head.every_step

    @property
    def can_repeat(self) -> bool:
        """Whether F can run twice: whether nothing in the head is known to draw random numbers."""
        return looks_beyond(self._head) is None

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Predict for the rows and steps of a cell that have a prediction; add their loss."""
        cell, cells, every_step = parcel.cell, self._spec.cells, self._head.every_step
        assert parcel.tensor is not None
        first, stop = (0, cells.n_active(cell)) if every_step else cells.ended(cell)
        if first == stop:
            return []
        y = leaf(parcel.tensor)
        # A leaf itself could not be changed in place, which a linear layer does not do.
        is_known = type(getattr(self._head, "linear", None)) is nn.Linear
        is_known &= type(self._head) in HEADS.values()
        outputs = y if is_known else y.clone()
        outputs = outputs if every_step else cells.last_outputs(outputs, cell)
        scores = scores_of(self._head, outputs)
        scale = self._spec.windows.scale
        if scale is not None:
            rows, *_ = index_of(cells, cell, every_step=every_step)
            scale = self._lane.fetch(scale[rows])
        prediction = self._spec.output.prediction(scores, scale)
        runs = cells.runs(cell) if every_step else None
        if self._spec.loss is not None:
            self._add_loss(cell, y, prediction, runs)
            return []
        if self._spec.purpose is Purpose.CHECK:
            self.finite = self.finite and bool(prediction.isfinite().all())
        if runs is not None:
            prediction = zero_after_the_end(prediction, runs)
        self.predictions[cell] = prediction
        return []

    def forget(self, cell: Cell) -> None:
        """Let go of what F of a cell has saved."""
        self._saved.pop(cell, None)

    def again(self, parcel: Parcel) -> None:
        """Run F on a cell again, for its B alone: its loss has been added."""
        total = self.total
        self.forward(parcel)
        self.total = total

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Begin B of a cell with its loss."""
        cell = parcel.cell
        saved = self._saved.pop(cell, None)
        if saved is None:
            return [Parcel(cell, None)]
        y, target, loss = saved
        inputs = [y, target] if self._spec.wants_dy else [y]
        numbers, scale = self._spec.numbers, self._spec.loss_scale
        of_loss = None if numbers is None else numbers.scale.to(loss.dtype)
        if numbers is None and scale != 1.0:
            of_loss = torch.full_like(loss, scale)
        dy, *of_target = self.gradients[0].of_inputs([loss], [of_loss], inputs)
        if of_target and of_target[0] is not None:
            self.dy[cell] = of_target[0]
        return [Parcel(cell, dy)]

    def _add_loss(self, cell: Cell, y: Tensor, prediction: Tensor, runs: Tensor | None) -> None:
        spec = self._spec
        assert spec.loss is not None
        assert spec.windows.y is not None
        where = index_of(spec.cells, cell, every_step=self._head.every_step)
        target = self._lane.fetch(spec.windows.y[where])
        target = source = leaf(target) if spec.wants_dy else target
        weight = spec.windows.weight
        if weight is not None:
            weight = self._lane.fetch(weight[where])
        if runs is not None:
            runs = self._lane.fetch(runs)
            prediction, target = prediction[runs], target[runs]
            weight = None if weight is None else weight[runs]
        total = weighted_total(spec.loss, prediction, target, weight)
        numbers = spec.numbers
        loss = total / spec.n_elements if numbers is None else numbers.mean(total)
        self.total = loss.detach() if self.total is None else self.total + loss.detach()
        if loss.requires_grad:
            self._saved[cell] = (y, source, loss)
            self.gradients[0].check_leaves("The head, or the loss,", [loss], [y, source])


class OutputSection:
    """The outputs of the blocks themselves, for a caller that back-propagates from them later.

    Attributes:
        outputs: by cell, shape (time, rows, features).
        gradients_of_outputs: by cell, of the same shape, or None where there is none; to be set
            before B.
    """

    gradients: Sequence[SectionGradients] = ()

    def __init__(self) -> None:
        self.outputs: dict[Cell, Tensor] = {}
        self.gradients_of_outputs: dict[Cell, Tensor] = {}

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Keep a cell's outputs."""
        assert parcel.tensor is not None
        self.outputs[parcel.cell] = parcel.tensor
        return []

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Begin B of a cell with the gradient of its outputs."""
        return [Parcel(parcel.cell, self.gradients_of_outputs.get(parcel.cell))]


def index_of(cells: Cells, cell: Cell, *, every_step: bool) -> Index:
    """Return the index of a cell's predictions, and targets, in a batch, (batch, [time,] ...)."""
    if every_step:
        return cells.index_of(cell)
    first, stop = cells.ended(cell)
    return (cells.in_batch(cell.micro_batch, first, stop),)


def targets_gradient(section: HeadSection, y: Tensor, cells: Cells) -> Tensor:
    """Put the gradients of the cells' targets together, zero where nothing is predicted."""
    whole = torch.zeros_like(y)
    for cell, piece in section.dy.items():
        whole[index_of(cells, cell, every_step=section.every_step)] = piece.to(y.device)
    return whole


def blank_predictions(
    like: Tensor, n_rows: int, n_steps: int, head: Head, output: Output
) -> Tensor:
    """Return zeros in the shape of predictions, of the type and device of `like`."""
    time = (n_steps,) if head.every_step else ()
    return like.new_zeros(n_rows, *time, *output.shape_of(tuple(head.output_shape)))


def assemble(predictions: dict[Cell, Tensor], cells: Cells, head: Head, output: Output) -> Tensor:
    """Put the cells' predictions together.

    Args:
        predictions: by cell, batch first.
        cells: of the batch.
        head: that made them.
        output: what its numbers mean.

    Returns:
        Predictions for every row in order, zero where a row has no step.
    """
    some = next(iter(predictions.values()))
    whole = blank_predictions(some, cells.batch_size, cells.n_steps, head, output)
    for cell, prediction in predictions.items():
        whole[index_of(cells, cell, every_step=head.every_step)] = prediction
    return whole
