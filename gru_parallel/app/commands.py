"""The commands, train to report, and `gru-parallel`, which runs any of them.

Each reads and checks its settings here, in less than a second. What it does then is in a module of
its own, imported after that: torch, Lightning and matplotlib take seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from omegaconf import OmegaConf

from gru_parallel.app.backtest_settings import BACKTEST_HELP, BacktestSettings
from gru_parallel.app.cli import OF_A_SEARCH, ended, run_in_place, run_under_hydra
from gru_parallel.app.evaluate_settings import EVALUATE_HELP, EvaluateSettings
from gru_parallel.app.export_settings import EXPORT_HELP, ExportSettings
from gru_parallel.app.folders_line import FoldersLine, read_folders_line
from gru_parallel.app.freed_memory import keep_freed_memory
from gru_parallel.app.hydra_run import Prepare, Run
from gru_parallel.app.outcome import INTERRUPTED, USAGE_ERROR, fail
from gru_parallel.app.predict_settings import PREDICT_HELP, PredictSettings
from gru_parallel.app.search_settings import SEARCH_HELP, SearchLine, check_search, read_search_line
from gru_parallel.app.use import Prepare as PrepareUse
from gru_parallel.app.use import Run as RunUse
from gru_parallel.app.use import use_run
from gru_parallel.choices import hint, meant
from gru_parallel.config.overrides import compose_config, read_values
from gru_parallel.config.read_config import check_references, read_config
from gru_parallel.config.read_section import read_section
from gru_parallel.config.schema import Config
from gru_parallel.errors import UsageError
from gru_parallel.verification.settings import Settings
from gru_parallel.version import __version__

if TYPE_CHECKING:
    from gru_parallel.app import backtest as backtesting
    from gru_parallel.app import evaluate as evaluating
    from gru_parallel.app import predict as predicting
    from gru_parallel.app.prepare_run import Prepared

Own = TypeVar("Own", Settings, ExportSettings)

Command = Callable[[Sequence[str]], int]
"""From the command line without the program to the exit status."""

PLAN_HELP = """gru-parallel plan [setting=value ...]

Prints the plan that a run with these settings would have, writes it to plan.json, and trains
nothing. The devices that it names need not exist here. A run takes the plan with placement=file
placement.path=plan.json. `gru-parallel train --help` lists the settings."""

VERIFY_HELP = """gru-parallel verify [setting=value ...]

Makes one nn.GRU, cuts it in every way (blocks of 1, 2, ... layers, stages on devices, schedules,
micro-batches, chunks, one direction and both, equal and unequal lengths), and shows how far
outputs, last states and gradients are from those of the nn.GRU. Then shows what becomes of h_0 when
one GRU is made into several. Ends with status 1 if a promise is broken.

num_layers=4        layers
hidden_size=16      features of each layer
lengths=[12,7,3]    time steps of the sequences, repeated in turn until there are batch_size
batch_size=5        sequences
dtype=float64       float64 (the promise: 1e-12 of the largest entry) or float32 (1e-5)
devices=null        such as [cpu:0,cpu:1]; null: logical CPU devices, then accelerators if any
seed=0              of weights, sequences and states"""

REPORT_HELP = """gru-parallel report RUN [RUN ...] [--output FILE]

Writes report.html into the folder of the run, a page that a browser opens without a network: the
plan, the predicted and the measured step, both to zoom into, memory, losses, errors beside those of
the baselines, forecasts over the test part, versions and machine. Several runs stand side by side,
in the folder of the first.

RUN                 the folder of a run that has ended, such as outputs/2026-01-31/12-00-00
--output FILE       writes this file instead"""

COMPARE_HELP = """gru-parallel compare RUN [RUN ...] [--output FILE]

Puts runs that have ended side by side: one row for those that differ only in their seed, with mean
and sample standard deviation of validation, test and step time, and the best row by validation.
Runs whose test windows are not the same get tables of their own. Writes the same as comparison.csv
into the first folder.

RUN                 the folder of a run, or of several, such as multirun/2026-01-31/12-00-00
--output FILE       writes this file instead"""

HELP = """gru-parallel COMMAND [setting=value ...]

train     plans, trains, tests and reports
plan      prints the plan that a run with these settings would have, and writes plan.json
verify    cuts one nn.GRU in every way and shows that nothing changes
evaluate  tests the model of a finished run again, or on other data
predict   forecasts with the model of a finished run
backtest  forecasts from one origin after the other, and measures
report    writes a page of what runs came to
compare   puts finished runs side by side, with mean and spread over seeds
search    looks for the settings with the lowest validation loss
export    writes the model of a run for PyTorch alone, torch.export or ONNX

`gru-parallel COMMAND --help` lists the settings of a command, `gru-parallel --version` says which
version this is. `python -m gru_parallel.COMMAND` is the same."""


def train(arguments: Sequence[str]) -> int:
    """Plan, train, test, report; return the exit status."""

    def load() -> tuple[Prepare[Prepared], Run[Prepared]]:
        from gru_parallel.app.prepare_run import prepare
        from gru_parallel.app.train import run

        return prepare, run

    return run_under_hydra(arguments, load)


def plan(arguments: Sequence[str]) -> int:
    """Print the plan that a run would have; return the exit status."""

    def read(overrides: Sequence[str]) -> Config:
        return read_config(compose_config(overrides))

    def show(config: Config) -> int:
        from gru_parallel.app.plan import show

        return show(config)

    return run_in_place(arguments, PLAN_HELP, read, show)


def verify(arguments: Sequence[str]) -> int:
    """Cut one nn.GRU in every way and show that nothing changes; return the exit status."""

    def show(settings: Settings) -> int:
        from gru_parallel.app.verify import show

        return show(settings)

    return _run_with(Settings, arguments, VERIFY_HELP, show)


def evaluate(arguments: Sequence[str]) -> int:
    """Test the model of a finished run again; return the exit status."""

    def load() -> tuple[
        PrepareUse[EvaluateSettings, evaluating.Prepared], RunUse[evaluating.Prepared]
    ]:
        from gru_parallel.app.evaluate import prepare, run

        return prepare, run

    return use_run("evaluate", arguments, EVALUATE_HELP, EvaluateSettings, load)


def predict(arguments: Sequence[str]) -> int:
    """Forecast with the model of a finished run; return the exit status."""

    def load() -> tuple[
        PrepareUse[PredictSettings, predicting.Prepared], RunUse[predicting.Prepared]
    ]:
        from gru_parallel.app.predict import prepare, run

        return prepare, run

    return use_run("predict", arguments, PREDICT_HELP, PredictSettings, load)


def backtest(arguments: Sequence[str]) -> int:
    """Forecast from one origin after the other, and measure; return the exit status."""

    def load() -> tuple[
        PrepareUse[BacktestSettings, backtesting.Prepared], RunUse[backtesting.Prepared]
    ]:
        from gru_parallel.app.backtest import prepare, run

        return prepare, run

    return use_run("backtest", arguments, BACKTEST_HELP, BacktestSettings, load)


def report(arguments: Sequence[str]) -> int:
    """Write a page of what runs came to; return the exit status."""

    def show(line: FoldersLine) -> int:
        from gru_parallel.app.report import show

        return show(line)

    return _run_on_folders(arguments, REPORT_HELP, show)


def compare(arguments: Sequence[str]) -> int:
    """Put finished runs side by side; return the exit status."""

    def show(line: FoldersLine) -> int:
        from gru_parallel.app.compare import show

        return show(line)

    return _run_on_folders(arguments, COMPARE_HELP, show)


def export(arguments: Sequence[str]) -> int:
    """Write the model of a run for others to use; return the exit status."""

    def show(settings: ExportSettings) -> int:
        from gru_parallel.app.export import show

        return show(settings)

    return _run_with(ExportSettings, arguments, EXPORT_HELP, show)


def search(arguments: Sequence[str]) -> int:
    """Look for the settings with the lowest validation loss; return the exit status."""

    def show(line: SearchLine) -> int:
        config = check_search(line)

        from gru_parallel.app.search import search

        return search(line, config.seed)

    return ended(lambda: run_in_place(arguments, SEARCH_HELP, read_search_line, show), OF_A_SEARCH)


def _run_on_folders(
    arguments: Sequence[str], help_text: str, show: Callable[[FoldersLine], int]
) -> int:
    """Run a program that is given folders of runs, and no settings."""
    if {"-h", "--help"} & set(arguments):
        print(help_text)
        return 0
    try:
        return show(read_folders_line(arguments))
    except UsageError as error:
        return fail(error, USAGE_ERROR)


def _run_with(
    schema: type[Own], arguments: Sequence[str], help_text: str, show: Callable[[Own], int]
) -> int:
    """Run a program whose settings are none of training's."""
    known = [field.name for field in fields(schema)]

    def read(overrides: Sequence[str]) -> Own:
        composed = OmegaConf.create(read_values(overrides, known))
        check_references(composed)
        return read_section("", schema, composed)

    return run_in_place(arguments, help_text, read, show, lambda name: meant(name, known))


COMMANDS: dict[str, Command] = {
    "train": train,
    "plan": plan,
    "verify": verify,
    "evaluate": evaluate,
    "predict": predict,
    "backtest": backtest,
    "report": report,
    "compare": compare,
    "search": search,
    "export": export,
}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run a command; return its exit status."""
    # Read when torch is imported. The caller's intra-op threads, which the optimiser uses, would
    # otherwise spin for a while after each operator, on the cores that the stages' workers need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    if "--version" in arguments:
        print(f"gru_parallel {__version__}")
        return 0
    try:
        return COMMANDS[name](arguments)
    except KeyboardInterrupt:
        return fail("Stopped by Ctrl-C.", INTERRUPTED)


def main() -> int:
    """Run the command that is named first on the command line; return its exit status."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(HELP)
        return 0
    if name == "--version":
        return run("train", [name])
    if name not in COMMANDS:
        return fail(f"{name} is not a command; {hint(name, COMMANDS)}", USAGE_ERROR)
    return run(name, arguments)
