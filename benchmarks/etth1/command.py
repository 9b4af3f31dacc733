"""`python -m benchmarks etth1`: how well models forecast ETTh1, beside baselines."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.benchmark import Benchmark, positive
from benchmarks.etth1.numbers import (
    HORIZONS,
    OURS,
    PUBLISHED,
    TARGETS,
    Errors,
    SystemNumbers,
    of_system,
    read_numbers,
)
from benchmarks.etth1.systems import SYSTEMS, System, check_series, seasonal_naive
from benchmarks.tables import TextTable
from benchmarks.training import QUICK, FinishedRuns, seeds_of

SERIES = Path(__file__).parents[3] / "shared" / "data" / "ETTh1.csv"
NAIVE = "seasonal naive, 24 h"


class Etth1Benchmark(Benchmark[SystemNumbers]):
    """See `Benchmark`."""

    name = "etth1"
    about = "errors of forecasts of ETTh1, beside baselines"
    legend = (
        "Mean over the seeds, with the standard deviation where there are"
        " several. Weights and settings were chosen by validation. Finished runs are kept in"
        " benchmarks/results/runs, and not run again."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        """Add what is forecast, from what, and how often."""
        parser.add_argument("--seeds", type=positive, default=3, help="runs of each system (3)")
        parser.add_argument(
            "--horizons", type=int, nargs="+", choices=HORIZONS, default=HORIZONS, help="(all)"
        )
        parser.add_argument(
            "--systems", nargs="+", choices=SYSTEMS, default=tuple(SYSTEMS), help="(all)"
        )
        parser.add_argument("--data", type=Path, default=SERIES, help="ETTh1.csv")
        FinishedRuns.add_options(parser)

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        horizons, systems = " ".join(map(str, options.horizons)), " ".join(options.systems)
        return f"--seeds {options.seeds} --horizons {horizons} --systems {systems}"

    def measure(self, options: Namespace, console: Console) -> Iterator[SystemNumbers]:
        """Run one system after the other, seed by seed.

        Raises:
            UsageError: the series is not there, or a run failed.
        """
        path = options.data.absolute()
        check_series(path)
        finished = FinishedRuns(self.name, options)
        for horizon in options.horizons:
            yield SystemNumbers(NAIVE, horizon, (seasonal_naive(horizon, path),))
            for name in options.systems:
                system = SYSTEMS[name]
                with console.status(f"{system.title}, horizon {horizon}"):
                    settings = system.settings_at(horizon, path)
                    runs = tuple(_runs_of(system, settings, finished, options))
                if runs:
                    yield SystemNumbers(system.title, horizon, runs)

    def tables(self, numbers: Sequence[SystemNumbers]) -> Iterator[TextTable]:
        """Make the table of errors, that of the runs, and that of the targets."""
        systems = of_system(numbers)
        horizons = [horizon for horizon in HORIZONS if horizon in systems[NAIVE]]
        rows = [
            (name, *(_words(found.get(h)) for h in horizons)) for name, found in systems.items()
        ]
        published = [
            (name, *(_pair(*errors[HORIZONS.index(h)]) for h in horizons))
            for name, errors in PUBLISHED.items()
        ]
        headings = ("MSE / MAE at horizon", *map(str, horizons))
        yield TextTable("All seven columns, standardised", headings, (*rows, *published))
        yield TextTable("Each run", RUN_HEADINGS, tuple(_each_run(numbers)))
        ours = systems.get(OURS, {})
        verdicts = tuple(_verdict(ours[h]) for h in horizons if h in ours)
        yield TextTable("Targets", ("target", "measured", ""), verdicts, of_text=True)

    def read(self, entries: Mapping[str, Any]) -> SystemNumbers:
        """See `Benchmark`."""
        return read_numbers(entries)


RUN_HEADINGS = ("run", "validation loss", "test MSE", "test MAE", "minutes", "on")


def _runs_of(
    system: System, settings: Sequence[str], finished: FinishedRuns, options: Namespace
) -> Iterator[Errors]:
    """Run a system with each seed that has not finished before."""
    for seed in seeds_of(options):
        own = [*settings, f"seed={seed}", *(QUICK if options.quick else ())]
        found = finished.get(system.title, settings, seed, partial(system.train, own))
        if found is not None:
            yield Errors(seed=seed, **found)


def _words(own: SystemNumbers | None) -> str:
    if own is None:
        return ""
    return f"{_word(own.mse, own.mse_spread)} / {_word(own.mae, own.mae_spread)}"


def _word(error: float, spread: float | None) -> str:
    return f"{error:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def _pair(mse: float, mae: float) -> str:
    return f"{mse:.3f} / {mae:.3f}"


def _each_run(numbers: Sequence[SystemNumbers]) -> Iterator[tuple[str, ...]]:
    for own in numbers:
        for run in own.runs:
            if run.validation_loss is not None:
                name = f"{own.system}, {own.horizon}, seed {run.seed}"
                errors = (f"{x:.4f}" for x in (run.validation_loss, run.mse, run.mae))
                yield name, *errors, f"{run.minutes:.1f}", run.date or ""


def _verdict(own: SystemNumbers) -> tuple[str, ...]:
    target = TARGETS[own.horizon]
    return (
        f"squared error below {target} at horizon {own.horizon}",
        f"{own.mse:.4f}",
        "met" if own.mse < target else "MISSED",
    )


ETTH1 = Etth1Benchmark()
