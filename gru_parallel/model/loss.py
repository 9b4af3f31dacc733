"""Losses as a sum over elements and a count, so that ragged pieces have the right weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from gru_parallel.errors import ShapeError


@dataclass(frozen=True)
class SumLoss:
    """A loss that adds up over the cells of a batch.

    Attributes:
        name: in the settings.
        total: (prediction, target) -> the sum over their elements, a scalar.
        count: target -> number of elements that the sum runs over; known before the step. The loss
            of a batch is the sum of its cells' totals divided by the count of the whole batch.
    """

    name: str
    total: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor], int]


def _mse(prediction: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(*_alike(prediction, target), reduction="sum")


def _mae(prediction: Tensor, target: Tensor) -> Tensor:
    return functional.l1_loss(*_alike(prediction, target), reduction="sum")


def _huber(prediction: Tensor, target: Tensor) -> Tensor:
    return functional.huber_loss(*_alike(prediction, target), reduction="sum")


def _cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    classes = prediction.shape[-1]
    scores = _wide(prediction).reshape(-1, classes)
    return functional.cross_entropy(scores, target.reshape(-1), reduction="sum")


def _alike(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if prediction.shape != target.shape:
        raise ShapeError(
            f"Targets of shape {tuple(target.shape)} do not fit predictions of shape"
            f" {tuple(prediction.shape)}; give one number for each."
        )
    return _wide(prediction), _wide(target)


def _wide(numbers: Tensor) -> Tensor:
    # A sum over a batch soon exceeds the range, and the precision, of 16 bits.
    return numbers.float() if numbers.dtype.itemsize == 2 else numbers


LOSSES = {
    loss.name: loss
    for loss in (
        SumLoss("mse", _mse, Tensor.numel),
        SumLoss("mae", _mae, Tensor.numel),
        SumLoss("huber", _huber, Tensor.numel),
        SumLoss("cross_entropy", _cross_entropy, Tensor.numel),
    )
}
"""The losses by name: mean squared, mean absolute, Huber (delta 1), cross-entropy over indices."""
