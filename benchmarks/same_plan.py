"""Rows of a measurement that belong to the same plan, and the peer at its best. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.rank_variants import EngineVariant, Runner
from benchmarks.summary import Row, ShapeSummary

CHUNKED = EngineVariant(Runner.PROCESSES, "gpipe", n_micro_batches=1, n_chunks=16)
"""What is held against the peer at its best. With M=1 all schedules of two stages are the same."""

UNCHUNKED = (
    *(EngineVariant(Runner.PROCESSES, "gpipe", m) for m in (1, 2, 4, 8)),
    *(EngineVariant(Runner.PROCESSES, "one_f_one_b", m) for m in (2, 4, 8)),
)
"""What is held against the peer on the same plan."""

PEERS = tuple(variant.peer for variant in UNCHUNKED if variant.peer is not None)


@dataclass(frozen=True)
class SamePlan:
    """The rows of one plan.

    Attributes:
        variant: the plan, run in processes.
        processes: the row of this library's processes.
        threads: the row of this library's threads; None where they were not measured.
        peer: the peer's row; None where it has no such plan.
    """

    variant: EngineVariant
    processes: Row
    threads: Row | None
    peer: Row | None


def same_plans(summary: ShapeSummary) -> Iterator[SamePlan]:
    """Return the rows of each plan that was measured in processes."""
    rows = {row.name: row for row in summary.rows}
    for variant in (CHUNKED, *UNCHUNKED):
        if variant.name in rows:
            peer = variant.peer
            yield SamePlan(
                variant,
                rows[variant.name],
                rows.get(in_threads(variant).name),
                None if peer is None else rows.get(peer.name),
            )


def in_threads(variant: EngineVariant) -> EngineVariant:
    """Return the same plan in threads."""
    return EngineVariant(
        Runner.THREADS, variant.schedule, variant.n_micro_batches, variant.n_chunks
    )


def best_peer(summary: ShapeSummary, *, at_least: int = 1) -> Row | None:
    """Return the peer's fastest row.

    Args:
        summary: of a shape.
        at_least: the fewest micro-batches that count. With one, the peer's two ranks take turns.

    Returns:
        The row; None where the peer was not measured with so many micro-batches.
    """
    names = {peer.name for peer in PEERS if peer.n_micro_batches >= at_least}
    rows = [row for row in summary.rows if row.name in names]
    return min(rows, key=lambda row: row.wall_ms, default=None)
