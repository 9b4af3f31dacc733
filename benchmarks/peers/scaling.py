"""`python -m benchmarks scaling`: time and memory of a step as its sequences or the stack grow."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmarks.driver import Choose
from benchmarks.peers.cores import CORES, RECOMPUTE, USUAL_CORE
from benchmarks.peers.variants import EngineVariant, Runner
from benchmarks.shapes import Shape
from benchmarks.summary import Row, ShapeSummary
from benchmarks.tables import TextTable
from benchmarks.targets import Verdict
from benchmarks.timed import TimedBenchmark
from benchmarks.timed_tables import rounds_note, targets_table
from benchmarks.variant import Variant
from benchmarks.variants import WholeGRU

CHUNK_STEPS, MIN_CHUNKS = 100, 16
MIB = 2**20

MAX_RECOMPUTE_TIME = 1.4
"""Of the time of the same plan without."""

JUDGED_STEPS = 10_000


def n_chunks_of(shape: Shape) -> int:
    """Return how many chunks sequences are cut into: of 100 steps, but not fewer than 16."""
    return max(min(MIN_CHUNKS, shape.n_steps), shape.n_steps // CHUNK_STEPS)


def variants_at(shape: Shape) -> tuple[Variant, ...]:
    """Return what is measured at a shape."""
    engine = (Runner.THREADS, "one_f_one_b", 1, n_chunks_of(shape))
    return (
        WholeGRU(1),
        *(EngineVariant(*engine, core) for core in CORES),
        *(EngineVariant(*engine, USUAL_CORE, what) for what in RECOMPUTE),
    )


def tables(summaries: Sequence[ShapeSummary]) -> Iterator[TextTable]:
    """Make the tables: one for all shapes that differ in T or L, then the targets."""
    for _, group in groupby(summaries, lambda own: (own.shape.hidden_size, own.shape.batch_size)):
        yield _growth_table(tuple(group))
    yield targets_table([verdict for summary in summaries for verdict in judge(summary)])


def _growth_table(summaries: Sequence[ShapeSummary]) -> TextTable:
    """A line per system, two columns per shape."""
    first = summaries[0].shape
    sizes = [f"T={own.shape.n_steps:,}, L={own.shape.num_layers}" for own in summaries]
    systems = dict.fromkeys(row.system for own in summaries for row in own.rows)
    return TextTable(
        f"H={first.hidden_size}, B={first.batch_size}",
        ("system", *(f"{size}: {unit}" for size in sizes for unit in ("ms", "MiB"))),
        tuple(
            (system, *(words for own in summaries for words in _words(own, system)))
            for system in systems
        ),
        " ".join(
            f"{size}, {n_chunks_of(own.shape)} chunks: {rounds_note(own)}"
            for size, own in zip(sizes, summaries, strict=True)
        ),
    )


def _words(summary: ShapeSummary, system: str) -> tuple[str, str]:
    row, peak = _row(summary, system), _peak_bytes(summary, system)
    return (
        "" if row is None else f"{row.wall_ms:,.1f}",
        "" if peak is None else f"{peak / MIB:,.1f}",
    )


def _row(summary: ShapeSummary, system: str) -> Row | None:
    return next((row for row in summary.rows if row.system == system), None)


def _peak_bytes(summary: ShapeSummary, system: str) -> int | None:
    found = [sum(own.peak_bytes) for own in summary.tried if own.system == system]
    return found[0] if found and found[0] else None


def judge(summary: ShapeSummary) -> Iterator[Verdict]:
    """Hold what recomputes against its target, where sequences have 10,000 steps."""
    without = _row(summary, EngineVariant(Runner.THREADS, "", 1, core=USUAL_CORE).system)
    if summary.shape.n_steps != JUDGED_STEPS or without is None:
        return
    target = f"recomputing takes at most {MAX_RECOMPUTE_TIME} x the time of the same plan"
    for row in summary.rows:
        if "recompute=" in row.system:
            time = without.speedup_over(row).median
            words = f"{time:.2f} x ({row.system})"
            yield Verdict(summary.shape, target, words, time <= MAX_RECOMPUTE_TIME)


@dataclass(frozen=True)
class ScalingBenchmark(TimedBenchmark):
    """See `TimedBenchmark`; every shape has plans of its own, and each runs once for its memory."""

    def variants_of(self, options: Namespace, shape: Shape) -> tuple[Variant, ...]:
        """See `TimedBenchmark`."""
        return variants_at(shape)

    def choose_of(self, options: Namespace) -> Choose:
        """See `TimedBenchmark`."""
        return lambda tried: tuple(tried.turns)


SCALING = ScalingBenchmark(
    name="scaling",
    about="time and memory of a step as its sequences or the stack grow",
    legend=(
        "MiB: what a step adds at most to the memory of its process: activations, gradients and"
        " what else it needs. The pipelines have two stages and cut time only."
    ),
    shapes=(
        # What takes longest comes last, and gets what the others leave of the time.
        *(Shape(64, 32, 96, num_layers) for num_layers in (4, 16, 64)),
        *(Shape(64, 4, n_steps, 4) for n_steps in (1_000, 10_000, 100_000)),
    ),
    quick_shape=Shape(hidden_size=16, batch_size=4, n_steps=32, num_layers=4),
    variants=(),
    quick_variants=(),
    make_tables=tables,
    minutes=15.0,
)
