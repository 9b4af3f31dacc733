"""Tails: the section at the end of the last stage, by what the pass is for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gru_parallel.model import SumLoss
from gru_parallel.model.head import Head, StepHead, WindowHead
from gru_parallel.schedule import Cell
from gru_parallel.stage.cells import Cells, Place
from gru_parallel.stage.section import Parcel, PassSetting, Section, leaf


class HeadTail(Section):
    """The head, and the loss where there are targets.

    Args:
        setting: of the pass.
        head: from outputs to predictions.
        y: targets, batch first; None where predictions are wanted.
        loss: what is minimised; None where predictions are wanted.
        n_elements: what the loss is divided by; only with targets.
        check_finite: whether to look for predictions that are not finite.
        wants_dy: whether the gradient of the targets is wanted.

    Attributes:
        predictions: by cell, batch first, of the rows of `places`; only without targets.
        total: the batch's loss so far, a scalar; only with targets.
        finite: whether all predictions so far are finite; only kept up to date on `check_finite`.
        dy: by cell, the gradient of the targets of its `place`; where it was wanted.
    """

    def __init__(
        self,
        setting: PassSetting,
        head: Head,
        y: Tensor | None = None,
        loss: SumLoss | None = None,
        n_elements: int | None = None,
        *,
        check_finite: bool = False,
        wants_dy: bool = False,
    ) -> None:
        super().__init__(setting, list(head.parameters()))
        self._head = head
        self._targets = y
        self._loss = loss
        self._check_finite = check_finite
        self._wants_dy = wants_dy
        self._saved: dict[Cell, tuple[Tensor, Tensor, Tensor]] = {}
        self._n_elements = n_elements
        self.predictions: dict[Cell, Tensor] = {}
        self.total: Tensor | None = None
        self.finite = True
        self.dy: dict[Cell, Tensor] = {}

    @property
    def every_step(self) -> bool:
        """Whether there is a prediction a step, and not one a window."""
        return self._head.every_step

    def forward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Predict for the rows and steps of a cell that have a prediction; add their loss."""
        cell = Cell(micro_batch, parcel.chunk)
        assert parcel.tensor is not None
        y = leaf(parcel.tensor)
        if self._n_predicted(cell) == 0:
            return []
        cells, every_step = self.setting.cells, self._head.every_step
        # A leaf itself could not be changed in place, which a linear layer does not do.
        is_known = type(getattr(self._head, "linear", None)) is nn.Linear
        is_known &= type(self._head) in (WindowHead, StepHead)
        outputs = y if is_known else y.clone()
        prediction: Tensor = self._head(
            outputs if every_step else cells.last_outputs(outputs, cell)
        )
        if self._check_finite and not prediction.isfinite().all():
            self.finite = False
        runs = cells.runs(cell) if every_step else None
        if self._targets is None or self._loss is None or self._n_elements is None:
            if runs is not None:
                prediction = prediction * runs.unsqueeze(2).to(prediction)
            self.predictions[cell] = prediction
            return []
        target = self.setting.lane.fetch(self._targets[place(cells, cell, every_step=every_step)])
        target = source = leaf(target) if self._wants_dy else target
        if runs is not None:
            runs = self.setting.lane.fetch(runs)
            prediction, target = prediction[runs], target[runs]
        loss = self._loss.total(prediction, target) / self._n_elements
        self.total = loss.detach() if self.total is None else self.total + loss.detach()
        if loss.requires_grad:
            self._saved[cell] = (y, source, loss)
            self.check_leaves("The head, or the loss,", loss, [y, source])
        return []

    def backward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Begin B of a cell with its loss."""
        saved = self._saved.pop(Cell(micro_batch, parcel.chunk), None)
        if saved is None:
            return [Parcel(parcel.chunk, None)]
        y, target, loss = saved
        sources = [y, target] if self._wants_dy else [y]
        dy, *of_target = self.differentiate([loss], [None], sources)
        if of_target and of_target[0] is not None:
            self.dy[Cell(micro_batch, parcel.chunk)] = of_target[0]
        return [Parcel(parcel.chunk, dy)]

    def _n_predicted(self, cell: Cell) -> int:
        cells = self.setting.cells
        if self._head.every_step:
            return cells.n_active(cell)
        first, stop = cells.ended(cell)
        return stop - first


class OutputTail(Section):
    """The outputs of the blocks themselves, for whoever back-propagates from them later.

    Attributes:
        outputs: by cell, shape (time, rows, features).
        gradients_of_outputs: by cell, of the same shape, or None where there is none; to be set
            before B.
    """

    def __init__(self, setting: PassSetting) -> None:
        super().__init__(setting, ())
        self.outputs: dict[Cell, Tensor] = {}
        self.gradients_of_outputs: dict[Cell, Tensor] = {}

    def forward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Keep a cell's outputs."""
        assert parcel.tensor is not None
        self.outputs[Cell(micro_batch, parcel.chunk)] = parcel.tensor
        return []

    def backward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Begin B of a cell with the gradient of its outputs."""
        return [
            Parcel(parcel.chunk, self.gradients_of_outputs.get(Cell(micro_batch, parcel.chunk)))
        ]


def place(cells: Cells, cell: Cell, *, every_step: bool) -> Place:
    """Say where a cell's predictions, and targets, stand in a batch, (batch, [time,] ...)."""
    if every_step:
        return cells.place(cell)
    first, stop = cells.ended(cell)
    return (cells.in_batch(cell[0], first, stop),)


def targets_gradient(tail: HeadTail, y: Tensor, cells: Cells) -> Tensor:
    """Put the gradients of the cells' targets together, zero where nothing is predicted."""
    whole = torch.zeros_like(y)
    for cell, piece in tail.dy.items():
        whole[place(cells, cell, every_step=tail.every_step)] = piece.to(y.device)
    return whole


def assemble(predictions: dict[Cell, Tensor], cells: Cells, head: Head) -> Tensor:
    """Put the cells' predictions together.

    Args:
        predictions: by cell, batch first.
        cells: of the batch.
        head: that made them.

    Returns:
        Predictions for every row in order, zero where a row has no step.
    """
    some = next(iter(predictions.values()))
    time = (cells.n_steps,) if head.every_step else ()
    whole = some.new_zeros(cells.batch_size, *time, *head.output_shape)
    for cell, prediction in predictions.items():
        whole[place(cells, cell, every_step=head.every_step)] = prediction
    return whole
