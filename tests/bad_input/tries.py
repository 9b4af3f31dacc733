"""One try: a command line that cannot work, and what is wrong with the way in which it ended."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.cli.in_process import Ended, RunCommand

MOST_LINES = 2


@dataclass(frozen=True)
class Try:
    """A command line that cannot work.

    Attributes:
        kind: what is wrong with it.
        command: the name of the command.
        overrides: all of them.
    """

    kind: str
    command: str
    overrides: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.command} {' '.join(self.overrides)} ({self.kind})"


Commands = Mapping[str, RunCommand]
"""The commands by name."""


def fault_of(run: Callable[[], Ended], folder: Path, may_work: bool = False) -> str | None:
    """Run a command on bad input, and return what is wrong with how it ended; None for nothing.

    Args:
        run: runs the command in `folder`, where it leaves nothing.
        folder: in which it is run.
        may_work: whether the input may be good after all.
    """
    before = set(folder.rglob("*"))
    try:
        with warnings.catch_warnings():
            # A user sees them, so here they are lines, too.
            warnings.simplefilter("default")
            ended = run()
    except Exception as error:  # noqa: BLE001  # whatever it is, a user would see a traceback
        return f"a traceback: {type(error).__name__}: {str(error)[:300]}"
    except SystemExit as error:
        return f"exit with {error.code}"
    finally:
        left = _clear(folder, before)
    if may_work and ended.status == 0:
        return None
    lines = ended.err.splitlines()
    if ended.status != 2:
        return f"status {ended.status}: {ended.err[-300:]}"
    if not 1 <= len(lines) <= MOST_LINES or "Traceback" in ended.err:
        return f"{len(lines)} lines: {ended.err[:600]}"
    if not all(line.startswith("gru_parallel: ") for line in lines[:1]):
        return f"a line that is not the program's: {lines[0]}"
    if ended.out:
        return f"printed: {ended.out[:300]}"
    return f"left behind: {', '.join(left)}" if left else None


def faults_of(tries: Iterable[Try], commands: Commands, folder: Path) -> list[str]:
    """Run all tries; return those that did not end as they should, each with what was wrong."""
    faults = []
    for each in tries:
        fault = fault_of(partial(commands[each.command], *each.overrides), folder)
        if fault is not None:
            faults.append(f"{each}: {fault}")
    return faults


def _clear(folder: Path, before: set[Path]) -> list[str]:
    """Remove what is new in a folder, and return its names."""
    new = sorted(set(folder.rglob("*")) - before)
    for path in new:
        # With its folder, it may be gone.
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return [str(path.relative_to(folder)) for path in new]
