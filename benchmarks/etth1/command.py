"""`python -m benchmarks etth1`: how well models forecast ETTh1, beside baselines."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.benchmark import Benchmark, positive
from benchmarks.etth1.numbers import (
    HORIZONS,
    OURS,
    PUBLISHED,
    TARGETS,
    SystemNumbers,
    of_system,
    read_numbers,
)
from benchmarks.etth1.systems import SYSTEMS, Job, check_series, seasonal_naive, seeds_of
from benchmarks.tables import TextTable

SERIES = Path(__file__).parents[3] / "shared" / "data" / "ETTh1.csv"
NAIVE = "seasonal naive, 24 h"


class Etth1Benchmark(Benchmark[SystemNumbers]):
    """See `Benchmark`."""

    name = "etth1"
    about = "errors of forecasts of ETTh1, beside baselines"
    legend = (
        "Mean over the seeds, with the standard deviation of the squared error. Weights and"
        " settings were chosen by validation alone."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        """Add what is forecast, from what, and how often."""
        parser.add_argument("--seeds", type=positive, default=3, help="runs of each system (3)")
        parser.add_argument(
            "--horizons", type=int, nargs="+", choices=HORIZONS, default=HORIZONS, help="(all)"
        )
        parser.add_argument("--data", type=Path, default=SERIES, help="ETTh1.csv")

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        return f"--seeds {options.seeds} --horizons {' '.join(map(str, options.horizons))}"

    def measure(self, options: Namespace, console: Console) -> Iterator[SystemNumbers]:
        """Run one system after the other, seed by seed.

        Raises:
            UsageError: the series is not there, or a run failed.
        """
        path = options.data.absolute()
        check_series(path)
        for horizon in options.horizons:
            jobs = [Job(horizon, seed, path, options.quick) for seed in seeds_of(options)]
            yield SystemNumbers(NAIVE, horizon, (seasonal_naive(jobs[0]),))
            for name, run in SYSTEMS.items():
                with console.status(f"{name}, horizon {horizon}"):
                    yield SystemNumbers(name, horizon, tuple(map(run, jobs)))

    def tables(self, numbers: Sequence[SystemNumbers]) -> Iterator[TextTable]:
        """Make the table of errors, that of the runs, and that of the targets."""
        systems = of_system(numbers)
        horizons = [horizon for horizon in HORIZONS if horizon in systems[NAIVE]]
        rows = [(name, *(_words(found[h]) for h in horizons)) for name, found in systems.items()]
        published = [
            (name, *(_pair(*errors[HORIZONS.index(h)]) for h in horizons))
            for name, errors in PUBLISHED.items()
        ]
        headings = ("MSE / MAE at horizon", *map(str, horizons))
        yield TextTable("All seven columns, standardised", headings, (*rows, *published))
        yield TextTable("Each run", RUN_HEADINGS, tuple(_runs(numbers)))
        verdicts = tuple(_verdict(systems[OURS][h]) for h in horizons)
        yield TextTable("Targets", ("target", "measured", ""), verdicts, of_text=True)

    def read(self, entries: Mapping[str, Any]) -> SystemNumbers:
        """See `Benchmark`."""
        return read_numbers(entries)


RUN_HEADINGS = ("run", "validation loss", "test MSE", "test MAE", "minutes")


def _words(own: SystemNumbers) -> str:
    spread = "" if own.spread is None else f" ± {own.spread:.3f}"
    return f"{own.mse:.3f}{spread} / {own.mae:.3f}"


def _pair(mse: float, mae: float) -> str:
    return f"{mse:.3f} / {mae:.3f}"


def _runs(numbers: Sequence[SystemNumbers]) -> Iterator[tuple[str, ...]]:
    for own in numbers:
        for run in own.runs:
            if run.validation_loss is not None:
                name = f"{own.system}, {own.horizon}, seed {run.seed}"
                errors = (f"{x:.4f}" for x in (run.validation_loss, run.mse, run.mae))
                yield name, *errors, f"{run.minutes:.1f}"


def _verdict(own: SystemNumbers) -> tuple[str, ...]:
    target = TARGETS[own.horizon]
    return (
        f"squared error below {target} at horizon {own.horizon}",
        f"{own.mse:.4f}",
        "met" if own.mse < target else "MISSED",
    )


ETTH1 = Etth1Benchmark()
