"""Losses as a sum over elements and a count, so that ragged pieces weigh what they should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class SumLoss:
    """A loss that adds up over the cells of a batch.

    Attributes:
        name: how the settings call it.
        total: (prediction, target) -> the sum over their elements, a scalar.
        count: target -> number of elements that the sum runs over; known before the step. The loss
            of a batch is the sum of its cells' totals divided by the count of the whole batch.
    """

    name: str
    total: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor], int]


def _mse(prediction: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(prediction, target, reduction="sum")


def _mae(prediction: Tensor, target: Tensor) -> Tensor:
    return functional.l1_loss(prediction, target, reduction="sum")


def _huber(prediction: Tensor, target: Tensor) -> Tensor:
    return functional.huber_loss(prediction, target, reduction="sum")


def _cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    classes = prediction.shape[-1]
    return functional.cross_entropy(
        prediction.reshape(-1, classes), target.reshape(-1), reduction="sum"
    )


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
