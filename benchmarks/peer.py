"""The peer: `torch.distributed.pipelining` on the layers of one `nn.GRU`, at its best.

The loss is a sum over a count, as in this library, so that there are no gradients to be scaled
after backward.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.nn import functional

from benchmarks.peer_stage import PeerStage

SCHEDULES = {"gpipe": ScheduleGPipe, "one_f_one_b": Schedule1F1B}
"""The peer's schedules by the names that this library gives them."""

CPU = torch.device("cpu")


class Peer:
    """A rank of the peer: its stage, and the schedule over it. The default group must be there.

    Args:
        stage: of this rank.
        schedule: by its name in this library.
        n_micro_batches: slices of the batch.
        n_rows: of the batch.
        device: of this rank.
    """

    def __init__(
        self,
        stage: PeerStage,
        schedule: str,
        n_micro_batches: int,
        n_rows: int,
        device: torch.device = CPU,
    ) -> None:
        def loss(prediction: Tensor, target: Tensor) -> Tensor:
            return functional.mse_loss(prediction, target, reduction="sum") / n_rows

        own = PipelineStage(stage, dist.get_rank(), dist.get_world_size(), device)
        self._is_last = own.is_last
        self._schedule = SCHEDULES[schedule](own, n_micro_batches, loss, scale_grads=False)
        # Before torch 2.10 a schedule always joins the outputs, and hands other words to the stage.
        knows = "return_outputs" in signature(self._schedule.step).parameters
        self._options: dict[str, Any] = {"return_outputs": False} if knows else {}

    def train_step(self, x: Tensor, y: Tensor) -> Tensor | None:
        """Run forward and backward of a batch; gradients are added to those of the parameters.

        The first call also finds out the shapes, with a forward and backward of its own.

        Args:
            x: windows, shape (batch, time, hidden_size).
            y: targets, shape (batch, 1).

        Returns:
            The loss on the last rank; None on the others.
        """
        losses: list[Tensor] = []
        own = (x,) if dist.get_rank() == 0 else ()
        self._schedule.step(
            *own, target=y if self._is_last else None, losses=losses, **self._options
        )
        return torch.stack(losses).sum().detach() if self._is_last else None
