"""Results: a finished measurement, with where it was made; JSON both ways."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic

from benchmarks.benchmark import Benchmark, Numbers
from benchmarks.machine import Machine
from gru_parallel.errors import UsageError

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Results(Generic[Numbers]):
    """A finished measurement.

    Attributes:
        benchmark: the name of what was measured.
        date: the day, as in 2026-01-31.
        command: that repeats it.
        machine: where it was made.
        numbers: what was found.
    """

    benchmark: str
    date: str
    command: str
    machine: Machine
    numbers: tuple[Numbers, ...]

    def to_json(self) -> str:
        """Write the results as indented JSON that `from_json` reads back to equal results."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, benchmark: Benchmark[Numbers]) -> Results[Numbers]:
        """Read results that `to_json` wrote.

        Raises:
            UsageError: they are another benchmark's.
        """
        entries = json.loads(text)
        if entries["benchmark"] != benchmark.name:
            raise UsageError(
                f"these results are of {entries['benchmark']}, not of {benchmark.name};"
                f" use python -m benchmarks {entries['benchmark']}."
            )
        return cls(
            benchmark=entries["benchmark"],
            date=entries["date"],
            command=entries["command"],
            machine=_read_machine(entries["machine"]),
            numbers=tuple(benchmark.read(numbers) for numbers in entries["numbers"]),
        )


def _read_machine(entries: dict[str, Any]) -> Machine:
    return Machine(**{**entries, "cards": tuple(entries.get("cards", ()))})


def result_path(name: str) -> Path:
    """Return where results of this name are kept.

    Raises:
        UsageError: the name is not one for a file.
    """
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise UsageError(f"{name!r} is no name for results; use letters, digits, - and _.")
    return RESULTS / f"{name}.json"


def path_to_save(name: str, benchmark: str) -> Path:
    """Return where results of this name are to be written.

    Raises:
        UsageError: the name is not one for a file, or that of another benchmark's results.
    """
    path = result_path(name)
    if path.is_file():
        there = json.loads(path.read_text())["benchmark"]
        if there != benchmark:
            raise UsageError(
                f"--save {name} would replace results of {there}; results of {benchmark} need"
                f" another name, such as {benchmark}-{name}."
            )
    return path


def save(results: Results[Any], name: str) -> Path:
    """Write results and return where.

    Raises:
        UsageError: see `path_to_save`.
    """
    path = path_to_save(name, results.benchmark)
    path.parent.mkdir(exist_ok=True)
    path.write_text(results.to_json())
    return path


def load(name: str, benchmark: Benchmark[Numbers]) -> Results[Numbers]:
    """Read results that `save` wrote.

    Raises:
        UsageError: there are none of this name, or they are another benchmark's.
    """
    path = result_path(name)
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.json"))) or "none"
        raise UsageError(f"there are no results named {name} (there are: {there}); --save them.")
    return Results.from_json(path.read_text(), benchmark)
