"""The command lines of `report` and `compare`, which have folders and no settings."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gru_parallel.errors import UsageError


@dataclass(frozen=True)
class FoldersLine:
    """Which runs are meant, and where the result goes.

    Attributes:
        folders: of runs, each once.
        output: the file to write; None for one in the first folder.
    """

    folders: tuple[Path, ...]
    output: Path | None = None


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print its usage, and exit.
        raise UsageError(f"{message}; see --help.")


def read_folders_line(arguments: Sequence[str]) -> FoldersLine:
    """Read the command line, without the program.

    Raises:
        UsageError: there is no folder, or a flag that does not exist.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("folders", metavar="RUN", nargs="+", type=Path)
    parser.add_argument("--output", metavar="FILE", type=Path)
    given = parser.parse_intermixed_args(list(arguments))
    return FoldersLine(tuple(dict.fromkeys(given.folders)), given.output)
