"""The heavy half of `compare`: reads the folders of runs, prints a table and writes it as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from yaml import YAMLError

from gru_parallel.app.console import say
from gru_parallel.app.folders_line import FoldersLine
from gru_parallel.app.output import writing
from gru_parallel.config.for_hydra import without_added
from gru_parallel.config.plain import by_full_name
from gru_parallel.errors import UsageError, counted
from gru_parallel.report.comparison import VAL_LOSS, ComparedRun, compare
from gru_parallel.report.comparison_table import (
    comparison_table,
    sentences,
    write_comparison,
)
from gru_parallel.report.summary import Summary, read_summary
from gru_parallel.run_folder import RunFolder

COMPARISON = "comparison.csv"
_OF_HYDRA = ".hydra/overrides.yaml"
_IN_TABLE = ("completed", "stopped early")
_WIDTH_OF_A_FILE = 200


@dataclass(frozen=True)
class Unfinished:
    """A run that has no place in the table.

    Attributes:
        name: its folder.
        words: what became of it.
    """

    name: str
    words: str


def show(line: FoldersLine) -> int:
    """Compare runs that have ended, say where the file is, and return the exit status.

    Raises:
        UsageError: a folder holds no run, none has ended, or the file cannot be written.
    """
    folders = list(dict.fromkeys(run for folder in line.folders for run in runs_in(folder)))
    found = [read_run(folder) for folder in folders]
    left = [run for run in found if isinstance(run, Unfinished)]
    if len(left) == len(found):
        raise UsageError(
            f"None of {counted(len(found), 'run')} has ended ({left[0].name}: {left[0].words});"
            " give the folder of a run that has, or of several."
        )
    show_runs(found, line.output or line.folders[0] / COMPARISON)
    return 0


def show_runs(found: Sequence[ComparedRun | Unfinished], path: Path) -> None:
    """Print the tables of the runs that have ended, name the others, and write the file.

    Raises:
        UsageError: the file cannot be written.
    """
    ended = [run for run in found if isinstance(run, ComparedRun)]
    console = Console()
    if not console.is_terminal:
        # A table that is folded for 80 columns cannot be searched.
        console = Console(width=_WIDTH_OF_A_FILE)
    comparisons = compare(ended)
    for comparison in comparisons:
        console.print(comparison_table(comparison))
    for sentence in sentences(comparisons):
        say(console, sentence)
    for run in found:
        if isinstance(run, Unfinished):
            say(console, f"Not in the table: {run.name}: {run.words}")
    if not ended:
        return
    with writing(path, "--output FILE"):
        write_comparison(comparisons, path)
    say(console, f"Table as CSV: {path}")


def runs_in(folder: Path) -> list[Path]:
    """Return a folder of a run, or all that are inside of it, at any depth and in their order.

    Raises:
        UsageError: there is none, or one cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give that of a run, or of several runs.")
    try:
        found = list(_runs_in(folder))
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be read ({error.strerror}); give folders that can."
        ) from error
    if not found:
        raise UsageError(f"{folder} holds no run; give the folder of a run, or of several runs.")
    return found


def read_run(folder: Path) -> ComparedRun | Unfinished:
    """Read what a run came to, which may be that it did not end, or that its files are damaged."""
    files, name = RunFolder(folder), str(folder)
    if not files.config.is_file():
        return Unfinished(name, f"did not begin ({_overrides(folder)})")
    try:
        settings = _settings(files.config)
    except (OmegaConfBaseException, OSError, UnicodeDecodeError, YAMLError) as error:
        return Unfinished(name, _damaged(files.config, error))
    if not files.summary.is_file():
        return Unfinished(name, "has not ended")
    try:
        summary = read_summary(files.summary)
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        return Unfinished(name, _damaged(files.summary, error))
    if summary.ended not in _IN_TABLE:
        return Unfinished(name, f"{summary.ended}: {summary.reason}".rstrip("."))
    return ComparedRun(name, settings, summary, _validation(files.metrics, summary))


def _damaged(path: Path, error: Exception) -> str:
    reason = (str(error).splitlines() or [""])[0]
    return f"{path.name} was not written by a run ({type(error).__name__}: {reason})"


def _runs_in(folder: Path) -> Iterator[Path]:
    if RunFolder(folder).config.is_file() or (folder / _OF_HYDRA).is_file():
        yield folder
        return
    inside = (path for path in folder.iterdir() if path.is_dir() and not _is_passed_over(path))
    for path in sorted(inside, key=_in_order):
        yield from _runs_in(path)


def _is_passed_over(path: Path) -> bool:
    return path.is_symlink() or path.name.startswith(".")


def _in_order(path: Path) -> tuple[int, str]:
    """Order the numbers that a sweep gives its jobs as numbers."""
    return (int(path.name) if path.name.isdecimal() else -1, path.name)


def _settings(path: Path) -> Mapping[str, Any]:
    return by_full_name(OmegaConf.to_container(OmegaConf.load(path)))


def _overrides(folder: Path) -> str:
    """Return the settings that were given to a run that did not begin."""
    with suppress(OmegaConfBaseException, OSError, YAMLError):
        given = OmegaConf.to_container(OmegaConf.load(folder / _OF_HYDRA))
        if isinstance(given, list) and given:
            return " ".join(without_added(list(map(str, given))))
    return "its settings were refused"


def _validation(path: Path, summary: Summary) -> dict[str, float]:
    """Return the metrics of the validation that counts; its loss alone where no file has others."""
    loss = summary.validation_loss
    if loss is None:
        return {}
    with suppress(OSError, UnicodeDecodeError, ValueError), path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row.get(VAL_LOSS) and float(row[VAL_LOSS]) == loss:
                return {n: float(v) for n, v in row.items() if n.startswith("val/") and v}
    return {VAL_LOSS: loss}
