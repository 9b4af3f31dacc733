"""Replicas: adds up the gradients of a stage over all replicas of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import torch
import torch.distributed as dist
from torch import Tensor

from gru_parallel.engine.stage import Stage
from gru_parallel.ranks import Ranks


@dataclass(frozen=True)
class Ready:
    """The gradients of a stage, ready to be added up.

    Attributes:
        flat: for each type of weights, their gradients in a row, and one number more for each
            weight: how many replicas have found a gradient.
        made: on an accelerator, when they are there; None on the CPU.
    """

    flat: list[Tensor]
    made: torch.Event | None


@dataclass(frozen=True)
class Adding:
    """The gradients of a stage on their way.

    Attributes:
        flat: as in `Ready`.
        works: to wait for.
    """

    flat: list[Tensor]
    works: list[dist.Work]


class Replicas:
    """Adds up gradients over the replicas, a stage at a time, as soon as the stage has its own.

    The loss is divided by the elements of the whole batch before B, so that a sum is the mean that
    it should be, however unequal the replicas' shares are.

    All replicas add the stages up in one order, from the last stage of a rank, whose B ends first,
    to its first.

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
        self._adding: dict[int, Adding] = {}

    def connect(self, device: torch.device) -> None:
        """Add something small up: NCCL connects at the first use. All replicas call this together.

        Args:
            device: of this rank.
        """
        if self._group is not None:
            with self._ranks.waiting("all replicas to connect"):
                total = torch.ones(1, device=device)
                dist.all_reduce(total, group=self._group)
                total.item()

    def add(self, stage: Stage, gradients: list[Tensor | None]) -> None:
        """Start adding up the gradients of a stage, which has done its last B.

        Args:
            stage: of this rank.
            gradients: of each of its weights; None where this replica found none.
        """
        if self._group is None:
            return
        # Here, on the stage's own stream: another stage's worker may start what waits for its turn.
        flat = _in_a_row(stage.modules.weights(), gradients)
        ready = Ready(flat, _when_made(flat[0].device))
        with self._lock:
            self._ready[stage.index] = ready
            for own in reversed(self._stages):
                if own.index in self._adding:
                    continue
                if own.index not in self._ready:
                    return
                self._adding[own.index] = self._start(own, self._ready.pop(own.index))

    def sums(self) -> list[Tensor | None]:
        """Wait for all stages; return the gradient of each weight, in the order of the stages."""
        found: list[Tensor | None] = []
        for stage in self._stages:
            adding = self._adding.pop(stage.index)
            with self._ranks.waiting(f"stage {stage.index} on {stage.name} added up gradients"):
                for work in adding.works:
                    work.wait()
                # Inside: with NCCL it is here that the host waits.
                found += _taken_apart(stage.modules.weights(), adding.flat)
        return found

    def _start(self, stage: Stage, ready: Ready) -> Adding:
        if ready.made is not None:
            torch.accelerator.current_stream(ready.flat[0].device).wait_event(ready.made)
        works = []
        with self._ranks.waiting(f"stage {stage.index} on {stage.name} added up gradients"):
            for tensor in ready.flat:
                work = dist.all_reduce(tensor, group=self._group, async_op=True)
                assert work is not None
                works.append(work)
        return Adding(ready.flat, works)


def _when_made(device: torch.device) -> torch.Event | None:
    """Note when all that was queued so far is done; None where it is done already."""
    if device.type == "cpu":
        return None
    return torch.accelerator.current_stream(device).record_event()


def _types(weights: Sequence[Tensor]) -> list[torch.dtype]:
    return list(dict.fromkeys(weight.dtype for weight in weights))


def _in_a_row(weights: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor]:
    flat = []
    for dtype in _types(weights):
        pairs = [(w, g) for w, g in zip(weights, gradients, strict=True) if w.dtype == dtype]
        pieces = [torch.zeros_like(w).flatten() if g is None else g.flatten() for w, g in pairs]
        found = [float(g is not None) for _, g in pairs]
        flat.append(torch.cat([*pieces, pieces[0].new_tensor(found)]).detach())
    return flat


def _taken_apart(weights: Sequence[Tensor], flat: Sequence[Tensor]) -> list[Tensor | None]:
    sums: dict[int, Tensor | None] = {}
    for dtype, row in zip(_types(weights), flat, strict=True):
        indices = [i for i, weight in enumerate(weights) if weight.dtype == dtype]
        *pieces, found = row.split([*(weights[i].numel() for i in indices), len(indices)])
        for i, piece, n_found in zip(indices, pieces, found.tolist(), strict=True):
            sums[i] = piece.view_as(weights[i]) if n_found > 0 else None
    return [sums[i] for i in range(len(weights))]
