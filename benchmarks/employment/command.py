"""`python -m benchmarks employment`: one model of many series, beside forecasts of each alone."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from rich.console import Console

from benchmarks.benchmark import Benchmark, positive
from benchmarks.employment.errors import MODEL, errors_of
from benchmarks.employment.forecasters import FORECASTERS, Forecaster
from benchmarks.employment.series import employment_series
from benchmarks.tables import TextTable
from benchmarks.training import QUICK, FinishedRuns, Found, command, seeds_of, train

SETTINGS = (
    "data=csv",
    "data.series_column=series",
    "data.time_column=month",
    "data.frequency=MS",
    "data.season_length=12",
    "data.split=[0.8,0.1,0.1]",
    "data.input_length=48",
    "data.horizon=12",
    "data.centre=standardize",
    "model.loss=mae",
    # Neighbouring windows are nearly the same.
    "data.stride=3",
    "data.batch_size=256",
    "optimizer=adam",
    "lr_scheduler=one_cycle",
    "trainer.max_epochs=10",
    "placement.device_map=[cpu:0,cpu:0]",
    "schedule.n_micro_batches=1",
    "schedule.n_chunks=1",
)
"""What all models have in common."""

STRIDE = 5
"""Months from one origin of a forecast to the next."""

SYSTEMS: Mapping[str, tuple[str, ...]] = {
    "segments and decoder, all series in one model": (
        "model.encoder=segments",
        "model.segment_length=12",
        "model.head=decoder",
        "model.num_layers=2",
        "model.hidden_size=128",
        "model.dropout=0.2",
    ),
    "plain GRU, all series in one model": (
        "model.num_layers=2",
        "model.hidden_size=64",
        "model.dropout=0.1",
    ),
}
"""Further settings of each model, chosen by validation, by the name that tables have for it."""


@dataclass(frozen=True)
class MethodNumbers:
    """What a method came to.

    Attributes:
        method: its name.
        maes: mean absolute error with each seed, of logarithms.
        mases: mean absolute scaled error with each seed.
        validation_losses: lowest with each seed; () where nothing is trained.
        minutes: of training with each seed.
        dates: on which each run finished.
    """

    method: str
    maes: tuple[float, ...]
    mases: tuple[float, ...]
    validation_losses: tuple[float, ...] = ()
    minutes: tuple[float, ...] = ()
    dates: tuple[str, ...] = ()


class EmploymentBenchmark(Benchmark[MethodNumbers]):
    """See `Benchmark`."""

    name = "employment"
    about = "errors of one model of many series of unequal lengths, beside baselines"
    legend = (
        "Means over the series, with the standard deviation over the seeds. Runs that have finished"
        " are kept in benchmarks/results/runs, and not run again."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        """Add how often models are trained."""
        parser.add_argument("--seeds", type=positive, default=3, help="runs of each model (3)")
        FinishedRuns.add_options(parser)

    def repeat_with(self, options: Namespace) -> str:
        """See `Benchmark`."""
        return f"--seeds {options.seeds}"

    def measure(self, options: Namespace, console: Console) -> Iterator[MethodNumbers]:
        """Train each model with each seed, and forecast the test part of each series.

        Raises:
            UsageError: the package with the series is absent, or a run failed.
        """
        finished = FinishedRuns(self.name, options)
        baselines: Mapping[str, Mapping[str, float]] = {}
        for name, own in SYSTEMS.items():
            with console.status(name):
                found = list(_runs_of(name, [*SETTINGS, *own], finished, options))
            if found:
                baselines = baselines or found[0]["errors"]
                yield MethodNumbers(
                    name,
                    tuple(run["errors"][MODEL]["mae"] for run in found),
                    tuple(run["errors"][MODEL]["mase"] for run in found),
                    tuple(run["validation_loss"] for run in found),
                    tuple(run["minutes"] for run in found),
                    tuple(run["date"] for run in found),
                )
        for name, errors in baselines.items():
            if name != MODEL:
                yield MethodNumbers(name, (errors["mae"],), (errors["mase"],))

    def tables(self, numbers: Sequence[MethodNumbers]) -> Iterator[TextTable]:
        """Make the table of errors, and that of the runs."""
        errors = tuple((own.method, _shown(own.maes), _shown(own.mases)) for own in numbers)
        yield TextTable("A year ahead", ("", "MAE", "MASE"), errors)
        headings = ("run", "validation loss", "MAE", "MASE", "minutes", "on")
        yield TextTable("Each run", headings, tuple(_each_run(numbers)))

    def read(self, entries: Mapping[str, Any]) -> MethodNumbers:
        """See `Benchmark`."""
        lists = {name: tuple(own) for name, own in entries.items() if isinstance(own, list)}
        return MethodNumbers(**{**entries, **lists})


def _runs_of(
    name: str, settings: Sequence[str], finished: FinishedRuns, options: Namespace
) -> Iterator[Found]:
    """Run a model with each seed that has not finished before."""
    for seed in seeds_of(options):
        # Once is enough: they do not depend on the seed, and Theta takes minutes.
        others = FORECASTERS if (name, seed) == (next(iter(SYSTEMS)), 0) else {}
        own = [*settings, f"seed={seed}", *(QUICK if options.quick else ())]
        path = "data.path=employment.csv"
        found = finished.get(
            name,
            [*settings, path],
            seed,
            partial(_train, own, others, 5 if options.quick else None),
        )
        if found is not None:
            yield found


def _train(
    settings: Sequence[str], others: Mapping[str, Forecaster], n_series: int | None
) -> Found:
    """Train on the first series, or on all, and forecast from the origins of their test part."""
    table = employment_series()
    table = table[table["series"].isin(table["series"].unique()[:n_series])]
    with TemporaryDirectory() as folder:
        path, run = Path(folder) / "employment.csv", Path(folder) / "run"
        table.to_csv(path, index=False)
        summary = train([*settings, f"data.path={path}"], run)
        command("gru_parallel.backtest", f"run={run}", f"stride={STRIDE}")
        forecasts = pd.read_csv(
            run / "backtest" / "forecasts.csv",
            parse_dates=["ds", "cutoff"],
            dtype={"unique_id": str},
        )
    by_name = table.set_index("month").groupby("series", sort=False)["employed"]
    series = {str(name): values for name, values in by_name}
    return {
        "errors": errors_of(forecasts, series, others),
        "validation_loss": summary["validation_loss"],
        "minutes": summary["minutes"],
    }


def _shown(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):.4f}{spread}"


def _each_run(numbers: Sequence[MethodNumbers]) -> Iterator[tuple[str, ...]]:
    for own in numbers:
        runs = zip(own.validation_losses, own.maes, own.mases, own.minutes, own.dates, strict=False)
        for seed, (loss, mae, mase, minutes, date) in enumerate(runs):
            yield (
                f"{own.method}, seed {seed}",
                f"{loss:.4f}",
                f"{mae:.4f}",
                f"{mase:.4f}",
                f"{minutes:.1f}",
                date,
            )


EMPLOYMENT = EmploymentBenchmark()
