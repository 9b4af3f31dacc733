"""`python -m benchmarks speed`: the pipeline against one nn.GRU, and against its own bare cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.shapes import Shape
from benchmarks.summary import Row, ShapeSummary
from benchmarks.tables import TextTable
from benchmarks.targets import MAX_ADDED_CPU, MAX_OVER_IDEAL, judge_all
from benchmarks.timed import TimedBenchmark
from benchmarks.timed_tables import TIMED_HEADINGS, marked, rounds_note, targets_table, timed_words
from benchmarks.variants import Pipeline, WholeGRU

HEADINGS = (
    *TIMED_HEADINGS,
    "bubble (ideal)",
    "step / ideal",
    "bare CPU ms",
    "added CPU",
    "by the engine",
)


def tables(summaries: Sequence[ShapeSummary]) -> Iterator[TextTable]:
    """Make the tables: one a shape, then the targets."""
    for summary in summaries:
        rows = tuple(_words(row) for row in summary.rows)
        yield TextTable(str(summary.shape), HEADINGS, rows, rounds_note(summary))
    yield targets_table(judge_all(summaries))


def _words(row: Row) -> tuple[str, ...]:
    """The words of a variant's line; what misses its target is marked."""
    words = timed_words(row)
    numbers = row.pipeline
    if numbers is None:
        return (*words, *[""] * (len(HEADINGS) - len(words)))
    return (
        *words,
        f"{numbers.bubble:.1%} ({numbers.ideal_bubble:.1%})",
        marked(f"{numbers.over_ideal:.2f}", numbers.over_ideal <= MAX_OVER_IDEAL),
        f"{numbers.bare_cpu_ms:.1f}",
        marked(f"{numbers.added_cpu:+.1%}", numbers.added_cpu <= MAX_ADDED_CPU),
        marked(f"{numbers.engine_cpu:+.1%}", numbers.engine_cpu <= MAX_ADDED_CPU),
    )


SPEED = TimedBenchmark(
    name="speed",
    about="the pipeline against nn.GRU",
    legend=(
        "! marks what misses its target. speed-up: against the better nn.GRU. bubble: idle share of"
        " the stages. step / ideal: against the schedule simulated with the measured cells. bare"
        " CPU ms: the same cells without the engine. added CPU: what the step takes above that. by"
        " the engine: the part of it outside F and B; the rest is F and B slowed down by the other"
        " busy core."
    ),
    shapes=tuple(Shape(h, b, 96, 4) for h in (128, 256) for b in (32, 64)),
    quick_shape=Shape(hidden_size=16, batch_size=4, n_steps=16, num_layers=4),
    variants=(
        WholeGRU(1),
        WholeGRU(2),
        Pipeline(n_micro_batches=2, n_chunks=1),
        Pipeline(n_micro_batches=4, n_chunks=1),
        Pipeline(n_micro_batches=1, n_chunks=4),
        Pipeline(n_micro_batches=1, n_chunks=8),
        Pipeline(n_micro_batches=1, n_chunks=16),
    ),
    quick_variants=(
        WholeGRU(1),
        WholeGRU(2),
        Pipeline(n_micro_batches=2, n_chunks=1),
        Pipeline(n_micro_batches=1, n_chunks=4),
    ),
    make_tables=tables,
)
