"""What metrics compare; the metric of a loss given as sums and counts; their states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_sum

from gru_parallel.engine.engine import steps_that_run
from gru_parallel.model.loss import wide


class MeanLoss(Metric):
    """The sum of all losses divided by the count of all elements; NaN if a loss was.

    torchmetrics 1.9's MeanMetric leaves out NaN, and with its checks for NaN disabled it ignores
    the weights.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: int) -> None:
        """Add the losses of a batch: their sum, and its number of elements."""
        self.total += total
        self.count += count

    def compute(self) -> Tensor:
        """Return the mean over all elements."""
        return self.total / self.count


def to_compare(
    predicted: Tensor, batch: Mapping[str, Tensor], *, every_step: bool
) -> tuple[Tensor, Tensor]:
    """Return what is compared of a batch: its predictions, and their targets on the same device.

    Both have at least 32 bits, whatever the run computes in: errors are summed in that type.

    Args:
        predicted: predictions, batch first; without rows where they come out in another process.
        batch: as the loader gave it.
        every_step: whether there is a prediction at every step; the steps after the end of a short
            window are then left out, and time and batch are one dimension.
    """
    # Predictions may come out in another process, which then counts them.
    target = wide(batch["y"][: len(predicted)].to(predicted.device))
    prediction = predicted.to(target.dtype)
    lengths = batch.get("lengths") if every_step else None
    return within(prediction, lengths), within(target, lengths)


def within(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Leave out what is after the end of short windows.

    Args:
        values: shape (rows, time, ...).
        lengths: of the windows, rows or more of them; None if they are whole.

    Returns:
        Shape (steps of all rows, ...); with None the values.
    """
    if lengths is None:
        return values
    return values[steps_that_run(lengths[: len(values)], values.shape[1]).to(values.device)]


def weights_to_compare(
    predicted: Tensor, batch: Mapping[str, Tensor], *, every_step: bool
) -> Tensor | None:
    """Return how much the loss of what `to_compare` returns counts; None where all count alike."""
    if "weight" not in batch:
        return None
    weight = batch["weight"][: len(predicted)].to(predicted.device)
    return to_compare(weight, batch, every_step=every_step)[0]


def leave_inference_mode(metric: Metric) -> None:
    """Have a metric count outside inference mode after it counted, or was reset, within.

    Lightning validates and tests in inference mode, but not the validations of a training, which
    then cannot add to the states in place.
    """
    if torch.is_inference_mode_enabled():
        return
    for name in metric._defaults:
        state = getattr(metric, name)
        if state.is_inference():
            setattr(metric, name, state.clone())


def gather_states(metric: Metric, gather: Callable[..., list[Tensor]]) -> None:
    """Have a metric gather its states over ranks with `gather`, and add them up in their order.

    By itself, torchmetrics uses `torch.sum`, whose order depends on the number of ranks, so that
    metrics, and with them the choice of the best model, would depend on the device map. Added in
    the order of the ranks, those that measure nothing change nothing.

    Args:
        metric: any.
        gather: (this rank's state, group) -> the states of all ranks.
    """
    metric.dist_sync_fn = gather
    reductions: dict[str, Any] = metric._reductions
    for state, reduction in reductions.items():
        if reduction is dim_zero_sum:
            reductions[state] = _sum_in_order


def _sum_in_order(states: Tensor) -> Tensor:
    total = states[0]
    for state in states[1:]:
        total = total + state
    return total
