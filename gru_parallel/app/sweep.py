"""The runs of a sweep: each has a heading, and the end is a table of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from gru_parallel.app.outcome import USAGE_ERROR, fail
from gru_parallel.config.for_hydra import without_added
from gru_parallel.config.overrides import parse_override
from gru_parallel.errors import UsageError, counted


class StopSweep(BaseException):
    """Leaves a sweep before its next run; Hydra would go on after an Exception."""


def heading(number: int, n_runs: int | None, settings: str, what: str = "Run") -> str:
    """Return the line above the output of one of many runs, counted from 0."""
    of_all = "" if n_runs is None else f" of {n_runs}"
    return f"\n=== {what} {number + 1}{of_all}: {settings or 'the settings as given'} ==="


@dataclass
class Sweep:
    """What is known of a sweep while it goes on.

    Args:
        swept: how many values each setting has that has several, by its name.
        counts: whether that makes the number of runs: another sweeper decides by itself.
    """

    swept: Mapping[str, int]
    counts: bool = True
    _runs: list[tuple[Path, str]] = field(default_factory=list)
    _problems: dict[int, str] = field(default_factory=dict)
    _folder: Path | None = None

    def begin(self, folder: Path, sweep_folder: Path) -> None:
        """Print the heading of a run, with what tells it from the others.

        Args:
            folder: of the run.
            sweep_folder: of the sweep.
        """
        job = HydraConfig.get()
        of_run = without_added(job.overrides.task)
        given = [text for text in of_run if _name(text) in self.swept]
        n_runs = prod(self.swept.values()) if self.counts else None
        settings, self._folder = ", ".join(given), sweep_folder
        # Two may name the same folder, and only one of them has it.
        self._runs.append((folder, settings))
        print(heading(job.job.num, n_runs, settings), flush=True)

    def note(self, error: Exception) -> None:
        """Record what became of the run that has begun."""
        self._problems[len(self._runs) - 1] = str(error)

    def show(self) -> int:
        """Print the table of the runs that have ended, name the others, and write the CSV file.

        Returns:
            The exit status.
        """
        if self._folder is None:
            return 0
        # With the rest of the reports, which help and errors do not need.
        from gru_parallel.app.compare import COMPARISON, Unfinished, read_run, show_runs

        print(f"\n=== Sweep of {counted(len(self._runs), 'run')} ===", flush=True)
        try:
            found = []
            for number, (folder, settings) in enumerate(self._runs):
                problem = self._problems.get(number)
                # The folder of one that was refused may hold another run.
                run = read_run(folder) if problem is None else Unfinished("", problem)
                if isinstance(run, Unfinished):
                    run = Unfinished(f"{folder} ({settings})", run.words)
                found.append(run)
            show_runs(found, self._folder / COMPARISON)
        except UsageError as error:
            return fail(error, USAGE_ERROR)
        return 0


def _name(override: str) -> str:
    return str(parse_override(override).key_or_group)
