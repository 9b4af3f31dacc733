"""Picks rows of a measurement: the fastest plan of a system, and the same plan by two. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.summary import Row, ShapeSummary

NN_GRU, MODEL_PARALLEL, TORCHGPIPE = "nn.GRU", "model parallel", "torchgpipe"
PIPELINING, THREADS, PROCESSES = "torch pipelining", "threads", "processes"
EARLIER = "threads of"
"""What the names of systems begin with; a core follows, or a commit."""


def fastest(summary: ShapeSummary, kind: str) -> Row | None:
    """Return the fastest row of a kind, whatever its core; None where it was not measured."""
    rows = [row for row in summary.rows if kind_of(row.system) == kind]
    return min(rows, key=lambda row: row.wall_ms, default=None)


def kind_of(system: str) -> str:
    """Return what a system's name begins with, without its core or its number of threads."""
    kinds = (EARLIER, NN_GRU, MODEL_PARALLEL, TORCHGPIPE, PIPELINING, THREADS, PROCESSES)
    return next(kind for kind in kinds if system.startswith(kind))


class SamePlan(NamedTuple):
    """A plan that this library's processes and torch.distributed.pipelining have both run.

    Attributes:
        processes: the row of this library.
        peer: the other's.
    """

    processes: Row
    peer: Row


def same_plans(summary: ShapeSummary) -> Iterator[SamePlan]:
    """Return the rows of each such plan."""
    peers = {row.plan_name: row for row in summary.rows if row.system == PIPELINING}
    for row in summary.rows:
        if kind_of(row.system) == PROCESSES and row.plan_name in peers:
            yield SamePlan(row, peers[row.plan_name])
