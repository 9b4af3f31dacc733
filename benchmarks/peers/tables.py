"""The tables of `peers`: one of all shapes, then each shape's own, then the targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

from benchmarks.peers.fastest import (
    EARLIER,
    MODEL_PARALLEL,
    NN_GRU,
    PIPELINING,
    PROCESSES,
    THREADS,
    TORCHGPIPE,
    fastest,
)
from benchmarks.peers.targets import is_met, judge_all, ratio
from benchmarks.summary import Row, ShapeSummary, Tried
from benchmarks.tables import TextTable
from benchmarks.timed_tables import marked, rounds_note, targets_table

MIB = 2**20

COLUMNS = {
    MODEL_PARALLEL: "model parallel",
    TORCHGPIPE: "torchgpipe",
    PIPELINING: "torch pipelining",
    EARLIER: "earlier threads",
    PROCESSES: "processes",
    THREADS: "threads",
}
RATIOS = {NN_GRU: "nn.GRU", PIPELINING: "torch pipelining", EARLIER: "earlier"}
HEADINGS = (
    "shape",
    "nn.GRU 1, 2 threads",
    *COLUMNS.values(),
    "fastest threads",
    *(f"against {words}" for words in RATIOS.values()),
)

ROW_HEADINGS = (
    "variant",
    "wall ms",
    "CPU ms",
    "peak MiB",
    "against nn.GRU (quartiles)",
    "against torch pipelining (quartiles)",
)


def tables(summaries: Sequence[ShapeSummary]) -> Iterator[TextTable]:
    """Make the tables."""
    yield _without_empty_columns(
        "Every system at its fastest plan, ms", HEADINGS, [_line(own) for own in summaries]
    )
    for summary in summaries:
        rows = tuple(_words(row, summary) for row in summary.rows)
        yield TextTable(str(summary.shape), ROW_HEADINGS, rows, rounds_note(summary))
        yield _tried_table(summary)
    yield targets_table(judge_all(summaries))


def _line(summary: ShapeSummary) -> tuple[str, ...]:
    """A shape's line of the first table."""
    whole = [row for row in summary.rows if row.system.startswith(NN_GRU)]
    threads = fastest(summary, THREADS)
    return (
        str(summary.shape),
        ", ".join(_ms(row) for row in whole),
        *(_ms(fastest(summary, kind)) for kind in COLUMNS),
        "" if threads is None else threads.name.removeprefix(THREADS).strip(),
        *(_against(summary, threads, kind) for kind in RATIOS),
    )


def _without_empty_columns(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]
) -> TextTable:
    """Make a table of the columns that say something: not every system is always measured."""
    shown = [any(column) for column in zip(*rows, strict=True)]
    return TextTable(
        title, tuple(compress(headings, shown)), tuple(tuple(compress(row, shown)) for row in rows)
    )


def _ms(row: Row | None) -> str:
    return "" if row is None else f"{row.wall_ms:.1f}"


def _against(summary: ShapeSummary, threads: Row | None, kind: str) -> str:
    other = fastest(summary, kind)
    if threads is None or other is None:
        return ""
    measured = ratio(threads, other)
    return marked(f"{measured:.2f}", is_met(summary, kind, measured))


def _words(row: Row, summary: ShapeSummary) -> tuple[str, ...]:
    """The words of a variant's line."""
    peaks = {(tried.system, tried.plan_name): tried.peak_bytes for tried in summary.tried}
    return (
        row.name,
        f"{row.wall_ms:.1f}",
        f"{row.cpu_ms:.1f}",
        "+".join(f"{peak / MIB:.1f}" for peak in peaks.get((row.system, row.plan_name), ())),
        *(_quartiles(row, fastest(summary, kind)) for kind in (NN_GRU, PIPELINING)),
    )


def _quartiles(row: Row, other: Row | None) -> str:
    if other is None:
        return ""
    low, median, high = row.speedup_over(other)
    return f"{median:.2f} ({low:.2f}-{high:.2f})"


def _tried_table(summary: ShapeSummary) -> TextTable:
    """Every plan once: a line per plan, a column per system that has several."""
    found: dict[str, dict[str, Tried]] = {}
    for tried in summary.tried:
        found.setdefault(tried.system, {})[tried.plan_name] = tried
    several = {system: own for system, own in found.items() if len(own) > 1}
    plans = dict.fromkeys(plan for own in several.values() for plan in own)
    rows = tuple(
        (plan, *(f"{own[plan].wall_ms:.1f}" if plan in own else "" for own in several.values()))
        for plan in plans
    )
    return TextTable(f"{summary.shape}: every plan once, ms", ("plan", *several), rows)
