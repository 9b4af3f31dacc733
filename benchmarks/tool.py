"""Tool: a sub-command of `python -m benchmarks` that keeps no results."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import NamedTuple


class Tool(NamedTuple):
    """What such a sub-command is called and does.

    Attributes:
        name: of the sub-command.
        about: what it does, for --help.
        add_options: adds its options to the parser.
        run: does it, and returns the exit status.
    """

    name: str
    about: str
    add_options: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
