"""`python -m benchmarks speed`: the pipeline against one nn.GRU, and against its own bare cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.shapes import Shape
from benchmarks.summary import PipelineNumbers, Row, ShapeSummary
from benchmarks.tables import TextTable
from benchmarks.targets import MAX_ADDED_CPU, MAX_BUBBLE_ABOVE, MAX_OVER_IDEAL, judge_all
from benchmarks.timed import TimedBenchmark
from benchmarks.timed_tables import TIMED_HEADINGS, marked, rounds_note, targets_table, timed_words
from benchmarks.variants import Pipeline, WholeGRU

WITH_W = "zero_bubble"
"""A schedule in which the weights' gradients fill the bubble."""

HEADINGS = (
    *TIMED_HEADINGS,
    "bubble (simulated, ideal)",
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
        _bubble(numbers),
        marked(f"{numbers.over_ideal:.2f}", numbers.over_ideal <= MAX_OVER_IDEAL),
        f"{numbers.bare_cpu_ms:.1f}",
        marked(f"{numbers.added_cpu:+.1%}", numbers.added_cpu <= MAX_ADDED_CPU),
        marked(f"{numbers.engine_cpu:+.1%}", numbers.engine_cpu <= MAX_ADDED_CPU),
    )


def _bubble(numbers: PipelineNumbers) -> str:
    if numbers.simulated_bubble is None:
        return f"{numbers.bubble:.1%} ({numbers.ideal_bubble:.1%})"
    above = numbers.bubble - numbers.simulated_bubble
    words = f"{numbers.bubble:.1%} ({numbers.simulated_bubble:.1%}, {numbers.ideal_bubble:.1%})"
    return marked(words, above <= MAX_BUBBLE_ABOVE)


SPEED = TimedBenchmark(
    name="speed",
    about="the pipeline against nn.GRU",
    legend=(
        "! marks what misses its target. speed-up: against the better nn.GRU. bubble: idle share of"
        " the stages; simulated with the measured cells, and as if all took the same time. step /"
        " ideal: against the simulated step. bare CPU ms: the same cells without the engine. added"
        " CPU: what the step takes above that. by the engine: the part of it outside F, B and W;"
        " the rest is those slowed down by the other busy core."
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
        Pipeline(n_micro_batches=1, n_chunks=4, schedule=WITH_W),
        Pipeline(n_micro_batches=1, n_chunks=16, schedule=WITH_W),
    ),
    quick_variants=(
        WholeGRU(1),
        WholeGRU(2),
        Pipeline(n_micro_batches=2, n_chunks=1),
        Pipeline(n_micro_batches=1, n_chunks=4),
        Pipeline(n_micro_batches=1, n_chunks=4, schedule=WITH_W),
    ),
    make_tables=tables,
)
