"""Report: the outcomes of all trials, with where and when they were made; JSON both ways."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from rich.console import Console

from benchmarks.machine import Machine, this_machine
from benchmarks.tables import draw, markdown_table
from tests.faults.outcome import Outcome, table

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = '<!-- faults: made by make test-faults ARGS="--write-page"; do not edit -->'
END = "<!-- end of faults -->"


@dataclass(frozen=True)
class Report:
    """The outcomes of all trials.

    Attributes:
        date: as in 2026-01-31.
        seed: of all that was random.
        jobs: trials at once.
        obstacle: why some kinds were left out; empty if none were.
        machine: where it was.
        outcomes: one for each trial.
    """

    date: str
    seed: int
    jobs: int
    obstacle: str
    machine: Machine
    outcomes: tuple[Outcome, ...]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], seed: int, jobs: int, obstacle: str) -> Self:
        """Report what has been tried today, here."""
        today = datetime.now(UTC).date().isoformat()
        return cls(today, seed, jobs, obstacle, this_machine(), tuple(outcomes))

    @classmethod
    def read(cls) -> Self:
        """Read what `save` wrote."""
        entries = json.loads(RESULTS.read_text())
        machine = entries["machine"]
        entries["machine"] = Machine(**machine | {"cards": tuple(machine["cards"])})
        entries["outcomes"] = tuple(Outcome(**each) for each in entries["outcomes"])
        return cls(**entries)

    def save(self) -> None:
        """Keep it for the page."""
        entries = asdict(self)
        entries["outcomes"] = [
            {name: _rounded(value) for name, value in each.items() if value not in ("", None)}
            for each in entries["outcomes"]
        ]
        RESULTS.write_text(json.dumps(entries, indent=1) + "\n")

    def show(self) -> None:
        """Draw the table on the terminal."""
        draw(table(self.outcomes), Console(width=200))

    def markdown(self) -> str:
        """Write it as Markdown."""
        machine = self.machine
        versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
        where = (
            f"{self.date}; {machine.processor}, {machine.n_cores} logical processors; {versions}"
        )
        shown = table(self.outcomes)
        parts = [
            f"{where}; {self.jobs} at a time; seed {self.seed}.",
            markdown_table(shown),
            shown.note,
        ]
        if self.obstacle:
            parts.append(f"Left out: what needs namespaces, because {self.obstacle}.")
        return "\n\n".join(parts)


def with_table(page: str, content: str) -> str:
    """Put the table of a report into the text of a page."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def write_page(report: Report) -> None:
    """Put the table of a report into the page on reliability."""
    PAGE.write_text(with_table(PAGE.read_text(), report.markdown()))
    print(f"Written into {PAGE}.")


def _rounded(value: object) -> object:
    return round(value, 2) if isinstance(value, float) else value
