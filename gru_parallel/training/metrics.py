"""The metric of a loss that is known as sums and counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanLoss(Metric):
    """The sum of all losses divided by the count of all elements; NaN where a loss was.

    torchmetrics 1.9's MeanMetric leaves out what is NaN, and with its checks for NaN disabled it
    leaves out the weights.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: int) -> None:
        """Add the losses of a batch: their sum, and the number of elements it runs over."""
        self.total += total
        self.count += count

    def compute(self) -> Tensor:
        """Return the mean over all elements."""
        return self.total / self.count
