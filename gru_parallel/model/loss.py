"""Losses as a sum over elements and a count, and the output of a model that they are losses of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from gru_parallel.errors import ShapeError, UsageError


@dataclass(frozen=True)
class SumLoss:
    """A loss that adds up over the cells of a batch.

    Attributes:
        name: in the settings.
        total: (prediction, target) -> the sum over their elements, a scalar.
        count: target -> number of elements that the sum runs over; known before the step. The loss
            of a batch is the sum of its cells' totals divided by the count of the whole batch, or
            by 1 where that is 0.
    """

    name: str
    total: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor], int]


def weighted_total(
    loss: SumLoss, prediction: Tensor, target: Tensor, weight: Tensor | None
) -> Tensor:
    """Add up a loss over elements that do not all count alike.

    The count stays the number of elements: with weights of mean 1 over the data, the mean over a
    batch is an unbiased estimate of the weighted mean over all of it, as a division by the weights
    of each batch would not be, and a batch of weights 0 has the loss 0. What counts 0 may be
    anything, as where it is not known what came: the loss sees 1 in its place.

    Args:
        loss: any.
        prediction: first the dimensions of the weights, then others.
        target: likewise.
        weight: of each row, or of each row and step; None where all count alike.

    Raises:
        UsageError: the loss cannot be computed for each row and step alone, or its total is not one
            number.
    """
    total, shape = loss.total, torch.Size()
    if weight is not None and weight.numel() == 0:
        weight = None
    if weight is not None:
        shape = target.shape[: weight.dim()]
        counts = weight.reshape(*weight.shape, *[1] * (target.dim() - weight.dim())) != 0
        # 0 times what is infinite or NaN would be NaN; nearly every loss can take a target of 1.
        target = torch.where(counts, target, 1)
        for _ in shape:
            total = torch.vmap(total)
    try:
        totals: Any = total(prediction, target)
    except (RuntimeError, ValueError) as error:
        # It also says ValueError, to what is no tensor.
        if "vmap" not in str(error):
            raise
        raise UsageError(
            f"The loss {loss.name} cannot be weighted (data.weight, Windows.weight): its total has"
            " to run in torch.vmap and to return a tensor, with shapes that do not depend on"
            " values; use torch.where(mask, loss, 0) instead of loss[mask], and no .item() or if on"
            " values."
        ) from error
    # Several numbers would be broadcast, or counted more than once, without a word.
    if not isinstance(totals, Tensor) or totals.shape != shape:
        raise UsageError(
            f"The total of the loss {loss.name} is {_kind(totals, len(shape))}, and has to be a"
            " tensor without dimensions, the sum over all elements, as .sum() gives it."
        )
    found: Tensor = totals if weight is None else (totals * weight).sum()
    return found


def _kind(total: object, n_weighted: int) -> str:
    """Say what a total is, where the first of its dimensions are those of weights."""
    if isinstance(total, Tensor):
        return f"a tensor of shape {tuple(total.shape[n_weighted:])}"
    return f"a {type(total).__name__}"


class Output(ABC):
    """What a head's numbers say of each value that is forecast; it has no weights.

    A head gives `n_numbers` for each value, one value after the other in its last dimension, its
    scores. `prediction` makes of them what engines give out and a loss takes, and `forecast` makes
    of that what people read.

    Attributes:
        name: in settings and checkpoints.
        point_name: what the point forecast is of a distribution; "" where it is all there is.
        levels: of the quantiles that are forecast, ascending; () for none.
    """

    name: ClassVar[str]
    point_name: ClassVar[str] = ""
    levels: tuple[float, ...] = ()

    @property
    @abstractmethod
    def n_numbers(self) -> int:
        """Numbers that a head gives for each value."""

    @property
    def loss(self) -> SumLoss | None:
        """What is minimised; None where that is chosen apart."""
        return None

    @abstractmethod
    def prediction(self, scores: Tensor, scale: Tensor | None = None) -> Tensor:
        """Say what the scores of a head mean.

        Args:
            scores: shape (rows, time, targets * n_numbers).
            scale: of the windows, see `Windows`, shape (rows, 1, targets); None for none.

        Returns:
            Shape (rows, time, targets, n_numbers), of at least 32 bits; of a point forecast, whose
            scores may have any shape, that shape and type.
        """

    @abstractmethod
    def forecast(self, prediction: Tensor) -> Tensor:
        """Return the point forecast and the quantiles.

        Args:
            prediction: what `prediction` returned.

        Returns:
            Shape (rows, time, targets, 1 + levels): the point forecast, then the quantile of each
            level; of a point forecast, the prediction itself.
        """

    def point(self, prediction: Tensor) -> Tensor:
        """Return the point forecast alone, shape (rows, time, targets)."""
        return self.forecast(prediction)[..., 0]

    def exported(self, prediction: Tensor) -> Tensor:
        """Return what an exported model gives out; `exported_names` are those of its numbers."""
        return self.forecast(prediction)

    @property
    def exported_names(self) -> tuple[str, ...]:
        """Names in the last dimension of `exported`; () where it has none of its own."""
        return (self.point_name, *map(str, self.levels)) if self.levels else ()

    def shape_of(self, scores: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of predictions from that of scores, without rows, as heads have it."""
        return (*scores[:-1], scores[-1] // self.n_numbers, self.n_numbers)


@dataclass(frozen=True)
class PointOutput(Output):
    """One number for each value, its forecast; any loss that compares it with the target will do.

    Also the scores of classes.
    """

    name = "point"
    n_numbers = 1

    def prediction(self, scores: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return the scores in the scale of their windows; see `Output`."""
        return scores if scale is None else scores * scale

    def forecast(self, prediction: Tensor) -> Tensor:
        """Return the prediction; see `Output`."""
        return prediction

    def point(self, prediction: Tensor) -> Tensor:
        """Return the prediction; see `Output`."""
        return prediction

    def shape_of(self, scores: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the scores; see `Output`."""
        return scores


POINT = PointOutput()
"""What a model has that says nothing else."""


def _summed(loss: Callable[..., Tensor], prediction: Tensor, target: Tensor) -> Tensor:
    """Add up one of torch's losses that compares each number with one target."""
    if prediction.shape != target.shape:
        raise ShapeError(
            f"Targets of shape {tuple(target.shape)} do not fit predictions of shape"
            f" {tuple(prediction.shape)}; give one number for each."
        )
    return loss(wide(prediction), wide(target), reduction="sum")


_IGNORED = -100
"""The class of targets that cross-entropy leaves out, in sum and count, as PyTorch's does."""


def _cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    classes = prediction.shape[-1]
    scores = wide(prediction).reshape(-1, classes)
    return functional.cross_entropy(
        scores, target.reshape(-1), ignore_index=_IGNORED, reduction="sum"
    )


def _n_classified(target: Tensor) -> int:
    return int((target != _IGNORED).sum())


def wide(numbers: Tensor) -> Tensor:
    """Return numbers of at least 32 bits."""
    # A sum over a batch soon exceeds the range, and the precision, of 16 bits.
    return numbers.float() if numbers.dtype.itemsize == 2 else numbers


LOSSES = {
    loss.name: loss
    for loss in (
        SumLoss("mse", partial(_summed, functional.mse_loss), Tensor.numel),
        SumLoss("mae", partial(_summed, functional.l1_loss), Tensor.numel),
        SumLoss("huber", partial(_summed, functional.huber_loss), Tensor.numel),
        SumLoss("cross_entropy", _cross_entropy, _n_classified),
    )
}
"""The losses by name: mean squared, mean absolute, Huber (delta 1), cross-entropy over indices.

Cross-entropy leaves out targets of -100, as PyTorch's does.
"""
