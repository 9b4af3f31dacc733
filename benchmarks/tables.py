"""TextTable: a table of words, drawn on the terminal or written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class TextTable:
    """A table of words, ready to be drawn.

    Attributes:
        title: what it shows.
        headings: one a column.
        rows: the words of each line.
        note: a sentence below it.
        of_text: whether all columns hold text; otherwise the first does, and numbers follow.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    of_text: bool = False


def draw(table: TextTable, console: Console) -> None:
    """Draw a table on a terminal."""
    drawn = Table(title=table.title, title_justify="left", caption=table.note or None)
    drawn.caption_justify = "left"
    for place, heading in enumerate(table.headings):
        left = table.of_text or place == 0
        drawn.add_column(heading, justify="left" if left else "right", no_wrap=place == 0)
    for row in table.rows:
        drawn.add_row(*row)
    console.print()
    console.print(drawn)


def markdown_table(table: TextTable) -> str:
    """Write a table's lines as Markdown, without title and note."""
    lines: Sequence[Sequence[str]] = (
        table.headings,
        ["---"] * len(table.headings),
        *table.rows,
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
