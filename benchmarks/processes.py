"""`python -m benchmarks processes`: the same plans in threads, in processes and by the peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.process_targets import judge_all
from benchmarks.same_plan import CHUNKED, PEERS, UNCHUNKED, in_threads, same_plans
from benchmarks.shapes import Shape
from benchmarks.summary import Row, ShapeSummary
from benchmarks.tables import TextTable
from benchmarks.timed import TimedBenchmark
from benchmarks.timed_tables import TIMED_HEADINGS, rounds_note, targets_table, timed_words

SAME_PLAN_HEADINGS = (
    "plan",
    "threads ms",
    "processes ms",
    "peer ms",
    "processes against threads",
    "processes against the peer",
)


def tables(summaries: Sequence[ShapeSummary]) -> Iterator[TextTable]:
    """Make the tables: two a shape, then the targets."""
    for summary in summaries:
        rows = tuple(timed_words(row) for row in summary.rows)
        yield TextTable(str(summary.shape), TIMED_HEADINGS, rows, rounds_note(summary))
        yield _same_plan_table(summary)
    yield targets_table(judge_all(summaries))


def _same_plan_table(summary: ShapeSummary) -> TextTable:
    rows = tuple(
        (
            same.variant.plan_name,
            _ms(same.threads),
            _ms(same.processes),
            _ms(same.peer),
            _speedup(same.processes, same.threads),
            _speedup(same.processes, same.peer),
        )
        for same in same_plans(summary)
    )
    return TextTable(f"{summary.shape}: the same plan", SAME_PLAN_HEADINGS, rows)


def _ms(row: Row | None) -> str:
    return "" if row is None else f"{row.wall_ms:.1f}"


def _speedup(row: Row, other: Row | None) -> str:
    if other is None:
        return ""
    low, median, high = row.speedup_over(other)
    return f"{median:.2f} ({low:.2f}-{high:.2f})"


PROCESSES = TimedBenchmark(
    name="processes",
    about="threads, processes and torch.distributed.pipelining on the same plans",
    legend=(
        "speed-up: against the peer, torch.distributed.pipelining, at its best. against: how many"
        " times as fast, quartiles in brackets; above 1, processes are faster."
    ),
    shapes=(Shape(128, 32, 96, 4), Shape(128, 4, 512, 4), Shape(256, 64, 96, 4)),
    quick_shape=Shape(hidden_size=16, batch_size=4, n_steps=16, num_layers=4),
    variants=(
        in_threads(CHUNKED),
        # Two plans without chunks are enough to see what processes cost.
        *(in_threads(UNCHUNKED[place]) for place in (1, 2)),
        CHUNKED,
        *UNCHUNKED,
        *PEERS,
    ),
    quick_variants=(
        in_threads(CHUNKED),
        CHUNKED,
        UNCHUNKED[1],
        PEERS[1],
    ),
    make_tables=tables,
)
