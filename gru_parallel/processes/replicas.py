"""Replicas: adds up the gradients of a stage over all replicas of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock

import torch
import torch.distributed as dist
from torch import Tensor

from gru_parallel.processes.ordered_sum import OrderedSum
from gru_parallel.ranks import Ranks
from gru_parallel.stage.gradients import sum_type
from gru_parallel.stage.stage import Stage


@dataclass(frozen=True)
class Ready:
    """The gradients of a stage, ready to be added up.

    Attributes:
        rows: for each type of gradients, those of the weights in one row, and for each weight one
            more number: how many replicas have a gradient.
        event: on an accelerator, of when they are computed; None on the CPU.
    """

    rows: list[Tensor]
    event: torch.Event | None


class Replicas:
    """Adds up gradients over the replicas, stage by stage, as soon as they are computed.

    Before B, the loss is divided by the number of elements of the whole batch, so that the sum is
    the right mean, however unequal the replicas' shares are. It is added up in the order of the
    replicas, so that its bits do not depend on the stage that a weight belongs to.

    All replicas add up the stages in the same order: from the last stage of a rank, whose B ends
    first, to its first.

    Args:
        ranks: of the run.
        group: the same rank of all replicas; None where there is one replica.
        stages: of this rank, in order.
    """

    def __init__(
        self, ranks: Ranks, group: dist.ProcessGroup | None, stages: Sequence[Stage]
    ) -> None:
        self._ranks = ranks
        self._group = group
        self._stages = stages
        self._lock = Lock()
        self._ready: dict[int, Ready] = {}
        self._adding: dict[int, list[OrderedSum]] = {}

    def connect(self, device: torch.device) -> None:
        """Add up some ones: NCCL connects at the first use. All replicas call this together.

        Args:
            device: of this rank.
        """
        if self._group is not None:
            with self._ranks.waiting("all replicas to connect"):
                ones = torch.ones(dist.get_world_size(self._group), device=device)
                adding = OrderedSum(ones, self._group)
                adding.add()
                adding.wait().tolist()

    def add(self, stage: Stage, gradients: list[Tensor | None]) -> None:
        """Start adding up the gradients of a stage, which has done its last B and W.

        Args:
            stage: of this rank.
            gradients: of each of its weights; None where this replica has none.
        """
        if self._group is None:
            return
        # Here, on the stage's stream: the sum may be started by another stage's worker.
        n_replicas = dist.get_world_size(self._group)
        rows = _in_a_row(stage.modules.weights(), gradients, n_replicas)
        ready = Ready(rows, _event(rows[0].device))
        with self._lock:
            self._ready[stage.index] = ready
            for next_stage in reversed(self._stages):
                if next_stage.index in self._adding:
                    continue
                if next_stage.index not in self._ready:
                    return
                gradients_of_next = self._ready.pop(next_stage.index)
                self._adding[next_stage.index] = self._start(next_stage, gradients_of_next)

    def sums(self) -> list[Tensor | None]:
        """Wait for all stages; return the gradient of each weight, in the order of the stages."""
        # On all replicas in the order in which they began.
        for stage in reversed(self._stages):
            with self._waiting(stage):
                for adding in self._adding[stage.index]:
                    adding.add()
        found: list[Tensor | None] = []
        for stage in self._stages:
            with self._waiting(stage):
                rows = [adding.wait() for adding in self._adding.pop(stage.index)]
                # Inside the `with`: here the host waits for NCCL.
                found += _taken_apart(stage.modules.weights(), rows)
        return found

    def _start(self, stage: Stage, ready: Ready) -> list[OrderedSum]:
        if ready.event is not None:
            torch.accelerator.current_stream(ready.rows[0].device).wait_event(ready.event)
        with self._waiting(stage):
            return [OrderedSum(row, self._group) for row in ready.rows]

    def _waiting(self, stage: Stage) -> AbstractContextManager[None]:
        return self._ranks.waiting(f"stage {stage.index} on {stage.name} added up gradients")


def _event(device: torch.device) -> torch.Event | None:
    """Record when all work queued so far is done; None on the CPU, where it is done already."""
    if device.type == "cpu":
        return None
    return torch.accelerator.current_stream(device).record_event()


def _types(weights: Sequence[Tensor]) -> list[torch.dtype]:
    return list(dict.fromkeys(map(sum_type, weights)))


def _in_a_row(
    weights: Sequence[Tensor], gradients: Sequence[Tensor | None], multiple: int
) -> list[Tensor]:
    """Join the gradients of each type into one row, padded with zeros to a multiple of numbers."""
    rows = []
    for dtype in _types(weights):
        pairs = [(w, g) for w, g in zip(weights, gradients, strict=True) if sum_type(w) == dtype]
        pieces = [
            torch.zeros_like(w, dtype=dtype).flatten() if g is None else g.flatten()
            for w, g in pairs
        ]
        found = torch.tensor([float(g is not None) for _, g in pairs], dtype=dtype)
        # Without waiting for all of the stage's backward.
        found = found.to(pieces[0].device, non_blocking=True)
        n_numbers = sum(piece.numel() for piece in (*pieces, found))
        padding = pieces[0].new_zeros(-n_numbers % multiple)
        rows.append(torch.cat([*pieces, found, padding]).detach())
    return rows


def _taken_apart(weights: Sequence[Tensor], rows: Sequence[Tensor]) -> list[Tensor | None]:
    sums: dict[int, Tensor | None] = {}
    for dtype, row in zip(_types(weights), rows, strict=True):
        indices = [i for i, weight in enumerate(weights) if sum_type(weight) == dtype]
        sizes = [*(weights[i].numel() for i in indices), len(indices)]
        *pieces, found, _ = row.split([*sizes, row.numel() - sum(sizes)])
        for i, piece, n_found in zip(indices, pieces, found.tolist(), strict=True):
            sums[i] = piece.view_as(weights[i]) if n_found > 0 else None
    return [sums[i] for i in range(len(weights))]
