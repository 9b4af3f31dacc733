"""Results: a finished measurement, with where it was made; JSON both ways."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.shapes import Shape
from benchmarks.summary import PipelineNumbers, Row, ShapeSummary
from gru_parallel.errors import UsageError

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Results:
    """A finished measurement.

    Attributes:
        date: the day, as in 2026-01-31.
        command: that repeats it.
        machine: where it was made.
        shapes: the numbers.
    """

    date: str
    command: str
    machine: Machine
    shapes: tuple[ShapeSummary, ...]

    def to_json(self) -> str:
        """Write the results as indented JSON that `from_json` reads back to equal results."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Read results that `to_json` wrote."""
        entries = json.loads(text)
        return cls(
            date=entries["date"],
            command=entries["command"],
            machine=Machine(**entries["machine"]),
            shapes=tuple(_read_shape(shape) for shape in entries["shapes"]),
        )


def result_path(name: str) -> Path:
    """Return where results of this name are kept.

    Raises:
        UsageError: the name is not one for a file.
    """
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise UsageError(f"{name!r} is no name for results; use letters, digits, - and _.")
    return RESULTS / f"{name}.json"


def save(results: Results, name: str) -> Path:
    """Write results and return where."""
    path = result_path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(results.to_json())
    return path


def load(name: str) -> Results:
    """Read results that `save` wrote.

    Raises:
        UsageError: there are none of this name.
    """
    path = result_path(name)
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.json"))) or "none"
        raise UsageError(f"there are no results named {name} (there are: {there}); --save them.")
    return Results.from_json(path.read_text())


def _read_shape(entries: dict[str, Any]) -> ShapeSummary:
    rows = tuple(_read_row(row) for row in entries["rows"])
    changed = {
        "shape": Shape(**entries["shape"]),
        "rows": rows,
        "stolen": tuple(entries["stolen"]),
    }
    return ShapeSummary(**{**entries, **changed})


def _read_row(entries: dict[str, Any]) -> Row:
    numbers = entries["pipeline"]
    return Row(**{**entries, "pipeline": None if numbers is None else PipelineNumbers(**numbers)})
