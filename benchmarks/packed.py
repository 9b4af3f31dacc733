"""`python -m benchmarks packed`: the drop-in against nn.GRU on sequences of unequal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary
from benchmarks.tables import TextTable
from benchmarks.timed import TimedBenchmark
from benchmarks.timed_tables import TIMED_HEADINGS, rounds_note, timed_words
from benchmarks.variants import DropIn, RaggedGRU

MIN_SPEEDUP = 1.0
"""Against the better nn.GRU on the same PackedSequence."""


def tables(summaries: Sequence[ShapeSummary]) -> Iterator[TextTable]:
    """Make the tables: one a shape, then the target."""
    for summary in summaries:
        rows = tuple(timed_words(row) for row in summary.rows)
        yield TextTable(_title(summary.shape), TIMED_HEADINGS, rows, rounds_note(summary))
    verdicts = tuple(_verdict(summary) for summary in summaries)
    yield TextTable("Target", ("shape", "target", "measured", ""), verdicts, of_text=True)


def _title(shape: Shape) -> str:
    return f"{shape}, lengths 1 to {shape.n_steps}"


def _verdict(summary: ShapeSummary) -> tuple[str, ...]:
    """Judge a shape by its fastest drop-in."""
    names = {variant.name for variant in PACKED.variants if isinstance(variant, DropIn)}
    best = max((row for row in summary.rows if row.name in names), key=lambda row: row.speedup)
    return (
        str(summary.shape),
        "faster than the better nn.GRU on the same PackedSequence",
        f"{best.speedup:.2f} x ({best.name})",
        "met" if best.speedup > MIN_SPEEDUP else "MISSED",
    )


PACKED = TimedBenchmark(
    name="packed",
    about="gru_parallel.GRU against nn.GRU on sequences of unequal length",
    legend=(
        "speed-up: against the better nn.GRU on the PackedSequence. padded: for reference; its h_n"
        " are not those of the sequences."
    ),
    shapes=(Shape(128, 32, 128, 4), Shape(128, 64, 256, 4)),
    quick_shape=Shape(hidden_size=16, batch_size=4, n_steps=16, num_layers=4),
    variants=(
        RaggedGRU(1),
        RaggedGRU(2),
        RaggedGRU(1, padded=True),
        RaggedGRU(2, padded=True),
        DropIn(n_micro_batches=1, n_chunks=1, in_thread=True),
        DropIn(n_micro_batches=1, n_chunks=8, in_thread=True),
        DropIn(n_micro_batches=1, n_chunks=8),
        DropIn(n_micro_batches=1, n_chunks=16),
        DropIn(n_micro_batches=2, n_chunks=8),
        DropIn(n_micro_batches=4, n_chunks=4),
    ),
    quick_variants=(
        RaggedGRU(1),
        RaggedGRU(1, padded=True),
        DropIn(n_micro_batches=1, n_chunks=8, in_thread=True),
        DropIn(n_micro_batches=1, n_chunks=8),
    ),
    make_tables=tables,
)
