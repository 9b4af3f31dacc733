"""What a trial came to, and what all trials of a kind came to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.tables import TextTable

LOST, BAD, HANG, UNNAMED = "lost", "bad checkpoint taken", "hang", "fault not named"
NONE = "-"


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes:
        kind: of the fault.
        number: of the trial, among those of its kind.
        moment: when in the run it was harmed.
        verdict: empty where nothing was lost; else LOST, BAD, HANG or UNNAMED.
        problem: what was wrong, in words; empty where nothing was.
        steps_repeated: that the resumed run took once more; None where none was resumed.
        notice_s: from the fault until anything besides the victim ended or said so.
        end_s: from the fault until all processes had ended that could.
        again_s: from the fault until the run, started anew unless it went on, had taken a step.
    """

    kind: str
    number: int
    moment: str
    verdict: str = ""
    problem: str = ""
    steps_repeated: int | None = None
    notice_s: float | None = None
    end_s: float | None = None
    again_s: float | None = None

    def __str__(self) -> str:
        measured = {
            "steps repeated": self.steps_repeated,
            "s to notice": self.notice_s,
            "s to end": self.end_s,
            "s to train again": self.again_s,
        }
        parts = [f"{value:.3g} {name}" for name, value in measured.items() if value is not None]
        what = f"{self.verdict.upper()}: {self.problem}" if self.verdict else ", ".join(parts)
        return f"{self.kind} [{self.number}], {self.moment}: {what or 'nothing lost'}"


HEADINGS = (
    "fault",
    "trials",
    "runs lost",
    "bad checkpoints taken",
    "hangs",
    "steps repeated",
    "s to notice",
    "s to end",
    "s to train again",
)


def table(outcomes: Sequence[Outcome]) -> TextTable:
    """Make a table with a row for each kind of fault, and one for all of them."""
    kinds = dict.fromkeys(outcome.kind for outcome in outcomes)
    rows = [_row(kind, [outcome for outcome in outcomes if outcome.kind == kind]) for kind in kinds]
    total = ("all", *_counts(outcomes), *[NONE] * 4)
    note = "Median, and the most in brackets, of all trials of a kind that have such a number."
    if unnamed := sum(outcome.verdict == UNNAMED for outcome in outcomes):
        note += f" {unnamed} ended without naming the fault."
    return TextTable("Faults", HEADINGS, (*rows, total), note)


def _row(kind: str, those: Sequence[Outcome]) -> tuple[str, ...]:
    return (
        kind,
        *_counts(those),
        _spread([each.steps_repeated for each in those], "{:g}"),
        _spread([each.notice_s for each in those]),
        _spread([each.end_s for each in those]),
        _spread([each.again_s for each in those]),
    )


def _counts(those: Sequence[Outcome]) -> tuple[str, ...]:
    verdicts = [each.verdict for each in those]
    return (str(len(those)), *(str(verdicts.count(verdict)) for verdict in (LOST, BAD, HANG)))


def _spread(values: Sequence[float | None], form: str = "{:.1f}") -> str:
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    return f"{form.format(median(known))} ({form.format(max(known))})"
