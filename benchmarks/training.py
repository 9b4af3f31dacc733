"""Trainings in processes of their own, and the file that keeps what finished ones came to."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.results import RESULTS
from benchmarks.run_settings import run_settings
from gru_parallel.errors import UsageError
from gru_parallel.whole_file import write_text

QUICK = (
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=2",
)
"""Settings of a smoke run."""

Found = dict[str, Any]
"""What a run came to, as JSON has it."""


def train(settings: Sequence[str], run: Path) -> Found:
    """Train in a process of its own.

    Args:
        settings: overrides of `gru_parallel.train`.
        run: folder for the run.

    Returns:
        What its summary.json holds, and the `minutes` that it took.

    Raises:
        UsageError: the run failed.
    """
    start = perf_counter()
    own = ("trainer.enable_progress_bar=false", f"hydra.run.dir={run}")
    command("gru_parallel.train", *settings, *own)
    summary: Found = json.loads((run / "summary.json").read_text())
    return {**summary, "minutes": (perf_counter() - start) / 60}


def command(module: str, *arguments: str) -> None:
    """Run a command of this package.

    Raises:
        UsageError: it failed.
    """
    line = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UsageError(f"{' '.join(line)} ended with {done.returncode}: {done.stderr}")


class FinishedRuns:
    """What finished runs came to, so that a benchmark of hours can be stopped and resumed.

    A run is known by its name, its seed and its settings, all that errors depend on: a default that
    has changed since makes another run. What has been trained before with other settings is kept,
    and not used.

    Args:
        name: of the benchmark.
        options: of `add_options`, and `quick`: smoke runs are neither used nor kept.
    """

    def __init__(self, name: str, options: Namespace) -> None:
        self._path = RESULTS / "runs" / f"{name}.json"
        self._keeps = not options.quick
        self._runs_none = options.finished and not options.quick
        self._is_new = options.anew

    @staticmethod
    def add_options(parser: ArgumentParser) -> None:
        """Add what is done about runs that have finished before."""
        choice = parser.add_mutually_exclusive_group()
        choice.add_argument(
            "--finished", action="store_true", help="run nothing; show what has finished before"
        )
        choice.add_argument(
            "--anew", action="store_true", help="also run again what has finished before"
        )

    def get(
        self, name: str, settings: Sequence[str], seed: int, run: Callable[[], Found]
    ) -> Found | None:
        """Return what a run came to, and the `date`; it runs unless it has finished before.

        Args:
            name: tells runs apart that have the same settings.
            settings: overrides, without the seed.
            seed: of the run.
            run: runs it.

        Returns:
            None if it has not finished, and is not to run.
        """
        wanted = run_settings(tuple(settings))

        def is_it(run: Found) -> bool:
            same_name = (run["name"], run["seed"]) == (name, seed)
            return same_name and wanted.are_those_of(run["settings"])

        known = [entry["found"] for entry in self._kept() if is_it(entry["run"])]
        if known and self._keeps and not self._is_new:
            return dict(known[0])
        if self._runs_none:
            return None
        found = {**run(), "date": datetime.now(UTC).date().isoformat()}
        if self._keeps:
            key = {"name": name, "seed": seed, "settings": wanted.own}
            others = [entry for entry in self._kept() if not is_it(entry["run"])]
            lines = [json.dumps(entry) for entry in (*others, {"run": key, "found": found})]
            write_text("[\n" + ",\n".join(lines) + "\n]\n", self._path)
        return found

    def _kept(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        kept: list[dict[str, Any]] = json.loads(self._path.read_text())
        return kept


def seeds_of(options: Namespace) -> Sequence[int]:
    """Return the seeds of a measurement."""
    return (0,) if options.quick else range(options.seeds)
