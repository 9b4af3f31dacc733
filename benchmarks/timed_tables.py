"""What the tables of all timed benchmarks share: first columns, targets, note on the rounds."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.driver import MAX_STOLEN
from benchmarks.summary import Row, ShapeSummary
from benchmarks.tables import TextTable
from benchmarks.targets import Verdict

QUIET = 0.05
"""Share of the machine that other processes may take before the numbers mean little."""

TIMED_HEADINGS = ("variant", "wall ms", "CPU ms", "speed-up (quartiles)")


def timed_words(row: Row) -> tuple[str, ...]:
    """The words of a variant's line under `TIMED_HEADINGS`."""
    return (
        row.name,
        f"{row.wall_ms:.1f}",
        f"{row.cpu_ms:.1f}",
        f"{row.speedup:.2f} ({row.speedup_low:.2f}-{row.speedup_high:.2f})",
    )


def marked(words: str, met: bool | None) -> str:
    """The words of a number, marked where it misses its target."""
    return f"{words} !" if met is False else words


_MET = {True: "met", False: "MISSED", None: ""}


def targets_table(verdicts: Sequence[Verdict]) -> TextTable:
    """Show which targets were met."""
    rows = tuple((str(v.shape), v.target, v.measured, _MET[v.met]) for v in verdicts)
    return TextTable("Targets", ("shape", "target", "measured", ""), rows, of_text=True)


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
