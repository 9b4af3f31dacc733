"""What this library is meant to reach against the others, and whether it does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.peers.fastest import (
    EARLIER,
    NN_GRU,
    PIPELINING,
    PROCESSES,
    THREADS,
    fastest,
    same_plans,
)
from benchmarks.shapes import Shape
from benchmarks.summary import Row, ShapeSummary
from benchmarks.targets import Verdict


class Wanted(NamedTuple):
    """How many times as fast as the others the fastest plan in threads should be.

    Attributes:
        nn_gru: as `nn.GRU` with one thread or two, whichever is faster.
        pipelining: as torch.distributed.pipelining at its best.
        earlier: as the threads of the build before cores of this library's own.
    """

    nn_gru: float
    pipelining: float
    earlier: float

    def against(self, kind: str) -> float | None:
        """Return what is wanted against a kind of system; None where nothing is."""
        return {NN_GRU: self.nn_gru, PIPELINING: self.pipelining, EARLIER: self.earlier}.get(kind)


WANTED = {
    Shape(128, 32, 96, 4): Wanted(nn_gru=1.6, pipelining=2.0, earlier=1.25),
    Shape(256, 64, 96, 4): Wanted(nn_gru=1.15, pipelining=1.6, earlier=1.1),
    Shape(128, 4, 512, 4): Wanted(nn_gru=3.4, pipelining=3.0, earlier=2.0),
}

MIN_PROCESSES = 0.95
"""Of the speed of threads: at most 5 % behind them."""

AGAINST = {
    NN_GRU: "the better nn.GRU",
    PIPELINING: "torch pipelining at its best",
    EARLIER: "threads of the earlier build",
}


def judge_all(summaries: Sequence[ShapeSummary]) -> tuple[Verdict, ...]:
    """Hold all shapes against the targets."""
    return tuple(verdict for summary in summaries for verdict in judge(summary))


def judge(summary: ShapeSummary) -> Iterator[Verdict]:
    """Hold a shape's numbers against the targets, each system at its fastest; not all have any."""
    wanted = WANTED.get(summary.shape)
    threads = fastest(summary, THREADS)
    if wanted is None or threads is None:
        return
    for kind, words in AGAINST.items():
        other, least = fastest(summary, kind), wanted.against(kind)
        if other is not None and least is not None:
            target = f"threads at least {least} x as fast as {words}"
            yield _verdict(summary, target, threads, other, least)
    processes = fastest(summary, PROCESSES)
    if processes is not None:
        target = f"processes at least {MIN_PROCESSES} x as fast as threads"
        yield _verdict(summary, target, processes, threads, MIN_PROCESSES)
    slowest = min(
        same_plans(summary), key=lambda same: ratio(same.processes, same.peer), default=None
    )
    if slowest is not None:
        target = "without chunks, processes not slower than torch pipelining on the same plan"
        yield _verdict(summary, target, slowest.processes, slowest.peer, 1.0)


def ratio(row: Row, other: Row) -> float:
    """Return how many times as fast a row is as another, median over the rounds."""
    return row.speedup_over(other).median


def is_met(summary: ShapeSummary, kind: str, measured: float) -> bool | None:
    """Say whether threads are fast enough against a kind of system; None where nothing is asked."""
    wanted = WANTED.get(summary.shape)
    least = None if wanted is None else wanted.against(kind)
    return None if least is None else measured >= least


def _verdict(summary: ShapeSummary, target: str, row: Row, other: Row, least: float) -> Verdict:
    measured = ratio(row, other)
    words = f"{measured:.2f} x ({row.name}, {other.name})"
    return Verdict(summary.shape, target, words, measured >= least)
