"""What all commands do with the terminal."""

from __future__ import annotations

import sys

from rich.console import Console


def is_live(console: Console) -> bool:
    """Whether lines can be redrawn; in a file or a pipe they cannot."""
    return sys.stdout.isatty() and console.is_interactive


def say(console: Console, line: str) -> None:
    """Print a line as it is, unless it is empty."""
    if line:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
