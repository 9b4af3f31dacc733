"""The heavy half of `evaluate`: tests the model of a finished run again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from torch import Tensor

from gru_parallel.app.console import is_live, say
from gru_parallel.app.environment import environment
from gru_parallel.app.evaluate_settings import EvaluateSettings
from gru_parallel.app.output import output_folder, writing
from gru_parallel.assembly.data import build_tables
from gru_parallel.assembly.finished_run import FinishedRun, open_run
from gru_parallel.assembly.length import n_test_batches
from gru_parallel.assembly.own_data import recognise
from gru_parallel.assembly.reuse import Reuse, build_test_data, reuse
from gru_parallel.assembly.trainer import build_evaluator, quieten_lightning
from gru_parallel.config.data_section import CsvConfig
from gru_parallel.data import SeriesDataModule
from gru_parallel.data.baselines import Score
from gru_parallel.data.fingerprint import fingerprint
from gru_parallel.engine.devices import accelerator_kind
from gru_parallel.engine.tf32 import tf32
from gru_parallel.errors import DataWarning, UsageError
from gru_parallel.ranks import Ranks, check_alike
from gru_parallel.report import Evaluation, results_table
from gru_parallel.report.step_errors_file import write_step_errors
from gru_parallel.report.summary import read_summary
from gru_parallel.step_errors import StepError
from gru_parallel.training.forecast_metrics import tested_metrics
from gru_parallel.training.step_error_record import StepErrorRecord

FILE = "evaluation.json"
ERRORS = "test_metrics.csv"


@dataclass(frozen=True)
class Prepared:
    """A test that has passed all checks and has not begun.

    Attributes:
        using: the weights that are tested.
        data: to test on.
        tested: indices of the test windows.
        baselines: errors on these windows, by name.
        output: the folder to write into.
    """

    using: Reuse
    data: SeriesDataModule
    tested: Tensor
    baselines: dict[str, Score]
    output: Path

    def check_together(self, ranks: Ranks) -> None:
        """Check what only all ranks together can check.

        Raises:
            UsageError: on all of them, if they have other plans or data, or share a GPU.
        """
        self.using.check_together(ranks)
        check_alike(ranks, {"data": fingerprint(self.data.tables)})


def prepare(
    settings: EvaluateSettings, overrides: Sequence[str], ranks: Ranks | None = None
) -> Prepared:
    """Build and check all that a test needs.

    Args:
        settings: of the command.
        overrides: of the run's settings.
        ranks: if this process is one of many; nothing here waits for other ranks.

    Raises:
        UsageError: a setting or the data cannot work.
    """
    quieten_lightning()
    run = open_run(settings.run, overrides, checkpoint=settings.checkpoint)
    output = output_folder(settings.output, run.folder.path / "evaluation", ranks)
    tables = build_tables(run.config, run.columns_of)
    run = _to_be_tested(recognise(run, tables))
    using = reuse(run, ranks)
    data = build_test_data(using, tables, pin_memory=accelerator_kind() is not None)
    tested = data.evaluation_windows("test", n_test_batches(using.config, data))
    if not len(tested):
        limit = using.config.trainer.limit_test_batches
        raise UsageError(
            f"trainer.limit_test_batches={limit} leaves nothing to test; leave it out."
        )
    return Prepared(using, data, tested, _baselines(run, data, tested), output)


def run(prepared: Prepared) -> int:
    """Test, print and write the result, and return the exit status.

    Raises:
        UsageError: the result cannot be written.
    """
    using, data = prepared.using, prepared.data
    console = Console(quiet=not using.is_first)
    say(console, using.run.words)
    say(console, data.words)
    record = StepErrorRecord(
        data.n_steps, data.n_targets, every_step=data.shape.task == "every_step"
    )
    trainer = build_evaluator(
        using.config,
        using.plan,
        [record],
        share=using.share,
        ranks=using.ranks,
        shows_progress=is_live(console) and using.config.trainer.enable_progress_bar,
    )
    with tf32(using.config.engine.tf32):
        (metrics,) = trainer.test(using.module, data, verbose=False)
    if not using.is_first:
        return 0
    source = using.config.data
    evaluation = Evaluation(
        run=str(using.run.folder.path),
        checkpoint=str(using.run.checkpoint),
        data=source.path if isinstance(source, CsvConfig) else source.name,
        test_metrics=tested_metrics(metrics),
        baselines={name: score.metrics for name, score in prepared.baselines.items()},
        test_windows=len(prepared.tested),
        all_test_windows=len(data.dataset("test")),
        environment=environment(using.plan.all_devices),
    )
    console.print(results_table(evaluation))
    say(console, _beside_the_run(using.run, evaluation))
    assert record.errors is not None, "a test has ended"
    by_step = {name: score.by_step for name, score in prepared.baselines.items()}
    errors = data.step_table({"model": record.errors, **by_step})
    say(console, f"Written to {_write(evaluation, errors, prepared.output)}")
    return 0


def _to_be_tested(run: FinishedRun) -> FinishedRun:
    """Test all of other data, and of the run's own data what the run tested."""
    config, trainer = run.config, run.config.trainer
    is_limited = run.gives("trainer.limit_test_batches", "trainer.fast_dev_run")
    is_repeated = run.has_own_parts and trainer.limit_test_batches != 0
    if not is_limited and not is_repeated:
        unlimited = replace(trainer, limit_test_batches=None, fast_dev_run=False)
        config = replace(config, trainer=unlimited)
    if run.tests_all:
        config = replace(config, data=replace(config.data, split=[0.0, 0.0, 1.0]))
    return replace(run, config=config)


def _baselines(run: FinishedRun, data: SeriesDataModule, tested: Tensor) -> dict[str, Score]:
    """Score the baselines; other data may be too short for the seasonal one."""
    try:
        return data.baselines("test", tested)
    except UsageError as error:
        if run.has_own_data:
            raise
        warnings.warn(f"{error} Here that baseline is left out.", DataWarning, stacklevel=2)
        data.season_length = None
        return data.baselines("test", tested)


def _beside_the_run(run: FinishedRun, evaluation: Evaluation) -> str:
    """Say whether a repeated test came to what the run's own came to."""
    try:
        summary = read_summary(run.folder.summary)
    except (AttributeError, LookupError, OSError, TypeError, ValueError):
        return ""
    tested = summary.best_checkpoint or summary.last_checkpoint
    if not run.has_own_parts or tested is None or Path(tested).name != run.checkpoint.name:
        return ""
    expected = summary.test_metrics
    if expected is None:
        return ""
    # As text, in which what is unknown is the same, too. Earlier versions measured less.
    found = {name: evaluation.test_metrics.get(name) for name in expected}
    if repr(found) == repr(expected):
        return "The same as in the summary of the run, to the last digit."
    shown = ", ".join(f"{name} {value!r}" for name, value in expected.items())
    return f"Not the same as in the summary of the run: {shown}."


def _write(evaluation: Evaluation, errors: Sequence[StepError], folder: Path) -> Path:
    path = folder / FILE
    with writing(path):
        evaluation.write(path)
        write_step_errors(errors, folder / ERRORS)
    return path
