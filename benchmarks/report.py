"""A measurement with where and when it was made, shown two ways: on the terminal, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.console import Console

from benchmarks.results import Results
from benchmarks.tables import TextTable, draw, markdown_table


def machine_line(results: Results[Any]) -> str:
    """Say where and when the numbers were made."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    cores = f"{machine.n_cores} logical processors"
    where = f"{machine.processor}, {cores}, {machine.system}"
    if machine.cards:
        names = Counter(machine.cards).items()
        where = f"{', '.join(f'{n} x {name}' for name, n in names)}; {where}"
    return f"{results.date}; {where}; {versions}."


def print_report(results: Results[Any], tables: Iterable[TextTable], console: Console) -> None:
    """Draw all tables on a terminal."""
    console.print(machine_line(results))
    for table in tables:
        draw(table, console)


def markdown(results: Results[Any], tables: Iterable[TextTable]) -> str:
    """Write all tables as Markdown."""
    parts = [machine_line(results), f"Repeat with `{results.command}`."]
    for table in tables:
        parts += [f"### {table.title}", markdown_table(table)]
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts)
