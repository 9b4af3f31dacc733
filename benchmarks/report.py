"""Tables of a measurement, made once and shown two ways: on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.driver import MAX_STOLEN
from benchmarks.results import Results
from benchmarks.summary import Row, ShapeSummary
from benchmarks.targets import MAX_ADDED_CPU, MAX_OVER_IDEAL, judge_all

QUIET = 0.05
"""Share of the machine that other processes may take before the numbers mean little."""

HEADINGS = (
    "variant",
    "wall ms",
    "CPU ms",
    "speed-up (quartiles)",
    "bubble (ideal)",
    "step / ideal",
    "bare CPU ms",
    "added CPU",
    "by the engine",
)


LEGEND = (
    "! marks what misses its target. speed-up: against the better nn.GRU. bubble: idle share of the"
    " stages. step / ideal: against the schedule simulated with the measured cells. bare CPU ms:"
    " the same cells without the engine. added CPU: what the step takes above that. by the engine:"
    " the part of it outside F and B; the rest is F and B slowed down by the other busy core."
)


@dataclass(frozen=True)
class TextTable:
    """A table of words, ready to be drawn.

    Attributes:
        title: what it shows.
        headings: one a column.
        rows: the words of each line.
        note: a sentence below it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(results: Results) -> Iterator[TextTable]:
    """Make the tables of a measurement: one a shape, then the targets."""
    for summary in results.shapes:
        rows = tuple(_cells(row) for row in summary.rows)
        yield TextTable(str(summary.shape), HEADINGS, rows, rounds_note(summary))
    verdicts = tuple(
        (str(v.shape), v.target, v.measured, "met" if v.met else "MISSED")
        for v in judge_all(results.shapes)
    )
    yield TextTable("Targets", ("shape", "target", "measured", ""), verdicts)


def machine_line(results: Results) -> str:
    """Say where and when the numbers were made."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    cores = f"{machine.n_cores} logical processors"
    return f"{results.date}; {machine.processor}, {cores}, {machine.system}; {versions}."


def rounds_note(summary: ShapeSummary) -> str:
    """Say which rounds the numbers of a shape come from and which were left out."""
    most = f"{MAX_STOLEN:.0%}"
    if summary.disturbed:
        note = (
            f"All {summary.n_run} rounds lost more than {most} to steal, so none was left out:"
            " these numbers are of disturbed rounds."
        )
    elif not summary.stolen:
        note = f"{summary.n_run} rounds; steal is unknown on this machine, so none was left out."
    else:
        note = (
            f"{summary.n_run} rounds, {summary.n_run - summary.n_kept} of them left out because"
            f" they lost more than {most} to steal (the most: {max(summary.stolen):.1%})."
        )
    if not summary.disturbed and summary.n_kept < summary.n_wanted:
        note += f" That leaves {summary.n_kept} where {summary.n_wanted} were wanted."
    if summary.others is not None:
        note += f" Other processes took {summary.others:.1%} of the machine."
        if summary.others > QUIET:
            note += " It was not quiet: these numbers do not count."
    return note


def print_report(results: Results, console: Console) -> None:
    """Draw all tables on a terminal."""
    console.print(machine_line(results))
    for table in tables(results):
        drawn = Table(title=table.title, title_justify="left", caption=table.note or None)
        drawn.caption_justify = "left"
        for place, heading in enumerate(table.headings):
            left = table.title == "Targets" or place == 0
            drawn.add_column(heading, justify="left" if left else "right", no_wrap=place == 0)
        for row in table.rows:
            drawn.add_row(*row)
        console.print()
        console.print(drawn)


def markdown(results: Results) -> str:
    """Write all tables as Markdown."""
    parts = [machine_line(results), f"Repeat with `{results.command}`."]
    for table in tables(results):
        parts += [f"### {table.title}", _markdown_table(table)]
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts)


def _markdown_table(table: TextTable) -> str:
    lines: Sequence[Sequence[str]] = (
        table.headings,
        ["---"] * len(table.headings),
        *table.rows,
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    """The words of a variant's line; what misses its target is marked."""
    words: tuple[str, ...] = (
        row.name,
        f"{row.wall_ms:.1f}",
        f"{row.cpu_ms:.1f}",
        f"{row.speedup:.2f} ({row.speedup_low:.2f}-{row.speedup_high:.2f})",
    )
    numbers = row.pipeline
    if numbers is None:
        return (*words, *[""] * (len(HEADINGS) - len(words)))
    return (
        *words,
        f"{numbers.bubble:.1%} ({numbers.ideal_bubble:.1%})",
        _marked(f"{numbers.over_ideal:.2f}", numbers.over_ideal <= MAX_OVER_IDEAL),
        f"{numbers.bare_cpu_ms:.1f}",
        _marked(f"{numbers.added_cpu:+.1%}", numbers.added_cpu <= MAX_ADDED_CPU),
        _marked(f"{numbers.engine_cpu:+.1%}", numbers.engine_cpu <= MAX_ADDED_CPU),
    )


def _marked(words: str, met: bool) -> str:
    return words if met else f"{words} !"
