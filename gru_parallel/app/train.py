"""The heavy half of `train`: runs what has been prepared: trains, tests, reports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from gru_parallel.app.console import is_live, say
from gru_parallel.app.environment import environment
from gru_parallel.app.outcome import TERMINATED, USAGE_ERROR, fail
from gru_parallel.app.prepare_run import Prepared
from gru_parallel.app.say_result import say_outcome, say_result
from gru_parallel.app.together import make_together
from gru_parallel.assembly.data import series_label
from gru_parallel.assembly.loggers import begin_logging, end_logging
from gru_parallel.assembly.trainer import build_trainer
from gru_parallel.config.cluster_section import DescribedCluster
from gru_parallel.config.plain import plain
from gru_parallel.config.schema import ProcessesConfig
from gru_parallel.data.forecast_panel import panels_of
from gru_parallel.data.forecasts import forecasts_of, windows_of_batch, windows_to_show
from gru_parallel.engine.peak_memory import peak_rss_bytes
from gru_parallel.engine.tf32 import tf32, uses_tf32
from gru_parallel.errors import EndOfRunError, UsageError
from gru_parallel.report import (
    Promise,
    RunResult,
    StageOutcome,
    Summary,
    epoch_line,
    pace_line,
    plan_table,
    slow_stages,
    stage_outcomes,
)
from gru_parallel.report.forecast_picture import draw_forecasts
from gru_parallel.report.step_picture import draw_step
from gru_parallel.run_folder import RunFolder
from gru_parallel.step_errors import StepError
from gru_parallel.training.best_and_last import (
    best_validation,
    tested_validation,
    written_checkpoints,
)
from gru_parallel.training.ending import why_stopped_early
from gru_parallel.training.epoch_record import EpochResult
from gru_parallel.training.epoch_record import Listener as EpochListener
from gru_parallel.training.forecast_metrics import tested_metrics
from gru_parallel.training.forecast_record import ForecastRecord
from gru_parallel.training.pace import Pace
from gru_parallel.training.step_clock import StepClock
from gru_parallel.training.step_error_record import StepErrorRecord
from gru_parallel.whole_file import write_text


def run(
    prepared: Prepared,
    composed: DictConfig,
    folder: Path,
    on_epoch: EpochListener | None = None,
) -> int:
    """Train and test in `folder`, print and write the results, and return the exit status.

    Args:
        prepared: the run.
        composed: its config, as Hydra composed it.
        folder: of the run.
        on_epoch: is called with the results of each epoch; an EndOfRunError of its ends the run.
    """
    console = Console(quiet=not prepared.is_first)
    planned, files = prepared.planned, RunFolder(folder)
    # Not before: settings may refer to the folder, which Hydra has now created.
    prepared.module.config = plain(prepared.as_given)
    console.print(plan_table(planned))
    say(console, prepared.start.words)
    say(console, prepared.data.words)
    before = None
    if prepared.is_first:
        before = _before(prepared, files)
        resolved = OmegaConf.to_yaml(composed, resolve=True)
        write_text(resolved, files.config)
        write_text(planned.plan.to_json() + "\n", files.plan)
        # Of a run that is resumed here: they would tell that this one has ended.
        for file in (
            files.summary,
            files.timeline,
            files.forecasts,
            files.forecast_picture,
            files.test_metrics,
        ):
            file.unlink(missing_ok=True)
    begin = partial(_Running, prepared, files, before, console, on_epoch)
    # What only rank 0 makes, such as loggers, must not have the others wait for it.
    running = begin() if prepared.ranks is None else make_together(begin, prepared.ranks)
    if running is None:
        return USAGE_ERROR
    with tf32(prepared.config.engine.tf32):
        return running.train_and_test()


def _before(prepared: Prepared, folder: RunFolder) -> RunResult | None:
    """Return what a run has come to that is resumed in its folder with the same plan."""
    if not folder.holds(prepared.start.ckpt_path):
        return None
    try:
        before = RunResult.read(folder.path)
    except UsageError:
        # It was killed, or its files are of another version.
        return None
    return before if before.plan == prepared.planned.plan else None


class _Running:
    """A run that has begun.

    Args:
        prepared: its parts.
        folder: to write into.
        before: what had been written there when this plan ran last; None for nothing.
        console: to print on.
        on_epoch: is called with the results of each epoch.
    """

    def __init__(
        self,
        prepared: Prepared,
        folder: RunFolder,
        before: RunResult | None,
        console: Console,
        on_epoch: EpochListener | None,
    ) -> None:
        self._prepared = prepared
        self._folder = folder
        self._before = before
        self._console = console
        self._clock = StepClock()
        data = prepared.data
        self._forecasts = ForecastRecord(
            windows_to_show(data, prepared.tested).tolist(), partial(windows_of_batch, data)
        )
        every_step = data.shape.task == "every_step"
        self._step_errors = StepErrorRecord(data.n_steps, data.n_targets, every_step=every_step)
        shows_progress = is_live(console) and prepared.config.trainer.enable_progress_bar
        listeners: list[EpochListener] = [] if shows_progress else [self._say_epoch]
        if on_epoch is not None:
            listeners.append(on_epoch)
        self._trainer = build_trainer(
            prepared.config,
            prepared.planned.plan,
            folder,
            [self._clock, self._forecasts, self._step_errors],
            data=prepared.data,
            ranks=prepared.ranks,
            shows_progress=shows_progress,
            listeners=listeners,
            pace_listeners=[] if shows_progress else [self._say_pace],
            say_stalls=_say_stall,
        )
        settings = plain(prepared.config)
        del settings["logger"]
        self._settings = settings | {"folder": str(folder.path)}
        begin_logging(self._trainer.loggers, self._settings)

    def train_and_test(self) -> int:
        """Train, test and report; return the exit status."""
        prepared, trainer = self._prepared, self._trainer
        try:
            trainer.fit(prepared.module, prepared.data, ckpt_path=prepared.start.ckpt_path)
            stopped_early = why_stopped_early(trainer)
            if stopped_early is not None:
                self._say(stopped_early)
            metrics = self._test()
        except EndOfRunError as error:
            return self._end_early(error.ended, error, error.status)
        except MisconfigurationException as error:
            message = " ".join(str(error).split())
            raise UsageError(f"trainer: Lightning refuses the settings: {message}") from error
        except SIGTERMException:
            reason = "Stopped by SIGTERM before the first step."
            return self._end_early("interrupted", reason, TERMINATED)
        except (SystemExit, KeyboardInterrupt) as error:
            # At a Ctrl-C that has no handler, Lightning exits.
            self._summarise("interrupted", "Stopped by Ctrl-C.")
            raise KeyboardInterrupt from error
        ended = "completed" if stopped_early is None else "stopped early"
        summary = self._summarise(ended, stopped_early, metrics)
        if prepared.is_first:
            self._report(summary)
        return 0

    def _end_early(self, ended: str, reason: object, status: int) -> int:
        """Write and say what there is of a run that cannot go on; return the exit status."""
        summary = self._summarise(ended, str(reason).splitlines()[0])
        if not self._prepared.is_first:
            return status
        has_steps = summary.timeline_step is not None
        if has_steps:
            say_outcome(self._console, summary)
        fail(reason, status)
        # Last: what was sent may be followed by a signal that nothing survives.
        if has_steps:
            self._draw_step()
        return status

    def _test(self) -> dict[str, float] | None:
        """Return the metrics of the best model, or of the last; None for no test."""
        if not len(self._prepared.tested):
            return None
        best, _ = written_checkpoints(self._trainer)
        module, data = self._prepared.module, self._prepared.data
        (metrics,) = self._trainer.test(module, data, ckpt_path=best, verbose=False)
        return tested_metrics(metrics)

    def _summarise(
        self, ended: str, reason: str | None, metrics: dict[str, float] | None = None
    ) -> Summary:
        """Return the summary of the run, and write the result on the first rank."""
        prepared, trainer, clock = self._prepared, self._trainer, self._clock
        shown = clock.typical
        best, tested = best_validation(trainer), tested_validation(trainer)
        progress = trainer.fit_loop.epoch_progress.current
        n_epochs: int = progress.started  # type: ignore[attr-defined]  # declared as a base class
        best_path, last_path = written_checkpoints(trainer)
        promise = Promise.of(prepared.planned)
        measured = None if shown is None else shown.timeline
        stages = stage_outcomes(promise, measured, clock.peak_bytes)
        on_cuda = any(name.startswith("cuda") for name in promise.plan.all_devices)
        summary = Summary(
            ended=ended,
            reason=reason,
            test_metrics=metrics,
            baselines={name: score.metrics for name, score in prepared.baselines.items()},
            test_windows=len(prepared.tested),
            all_test_windows=len(prepared.data.dataset("test")),
            validation_windows=len(prepared.validated),
            validation_baselines={
                name: score.metrics for name, score in prepared.validation_baselines.items()
            },
            validation_loss=None if tested is None else tested[0],
            best_epoch=None if best is None else best[1],
            n_parameters=sum(p.numel() for p in prepared.module.parameters() if p.requires_grad),
            epochs=n_epochs,
            steps=trainer.global_step,
            timed_steps=clock.n_steps,
            step_ms=clock.step_ms,
            samples_per_s=clock.samples_per_s,
            is_warm=clock.is_warm,
            predicted_step_ms=promise.step_ms,
            predicted_bubble=promise.timeline.bubble,
            timeline_step=None if shown is None else shown.number,
            timeline_step_ms=None if shown is None else shown.step_ms,
            measured_bubble=None if shown is None else shown.timeline.bubble,
            stages=stages,
            peak_rss_growth_bytes=peak_rss_bytes() - prepared.rss_before_bytes,
            warnings=self._warnings(stages, promise) if clock.is_warm else [],
            environment=environment(promise.plan.all_devices),
            best_checkpoint=best_path,
            last_checkpoint=last_path,
            tf32=uses_tf32() if on_cuda else None,
        )
        self._end_logging(summary)
        if not prepared.is_first:
            return summary
        predictions = {} if metrics is None else self._forecasts.predictions
        result = RunResult(
            summary,
            promise.plan,
            promise.timeline,
            measured,
            forecasts=tuple(
                forecasts_of(
                    prepared.data,
                    predictions,
                    series_label(prepared.config.data),
                    prepared.config.quantiles,
                )
            ),
            step_errors=() if metrics is None else self._step_table(),
        )
        if self._before is not None and not clock.n_steps:
            # There was nothing left to train.
            result = result.with_steps_of(self._before)
        result.write(self._folder)
        return result.summary

    def _warnings(self, stages: Sequence[StageOutcome], promise: Promise) -> list[str]:
        config = self._prepared.config
        return slow_stages(
            stages,
            promise.costs_source,
            over_ranks=isinstance(config.engine, ProcessesConfig),
            is_described=isinstance(config.cluster, DescribedCluster),
        )

    def _end_logging(self, summary: Summary) -> None:
        """Give loggers the numbers by which runs are compared."""
        tested = (summary.test_metrics or {}).items()
        result = {f"best/test_{name}": error for name, error in tested}
        if summary.validation_loss is not None:
            result["best/val_loss"] = summary.validation_loss
        has_failed = summary.ended in ("failed", "interrupted")
        loggers, step = self._trainer.loggers, summary.steps
        for problem in end_logging(loggers, self._settings, result, step, has_failed=has_failed):
            self._say(problem)

    def _step_table(self) -> tuple[StepError, ...]:
        """List the errors of model and baselines, which are beside each other in a table."""
        errors = self._step_errors.errors
        assert errors is not None, "a test has ended"
        baselines = self._prepared.baselines
        by_method = {"model": errors} | {name: each.by_step for name, each in baselines.items()}
        return tuple(self._prepared.data.step_table(by_method))

    def _report(self, summary: Summary) -> None:
        self._draw_step()
        data, config = self._prepared.data, self._prepared.config
        if summary.test_metrics is not None:
            panels = panels_of(data, self._forecasts.predictions, levels=config.quantiles)
            draw_forecasts(panels, "Forecasts over the test part", self._folder.forecast_picture)
        best = best_validation(self._trainer)
        say_result(self._console, summary, config, best, self._folder.path)

    def _draw_step(self) -> None:
        # From the folder, as at any later time.
        draw_step(RunResult.read(self._folder.path), self._folder.timeline)

    def _say_epoch(self, result: EpochResult) -> None:
        self._say(epoch_line(result, self._trainer.max_epochs or -1))

    def _say_pace(self, pace: Pace) -> None:
        self._say(pace_line(pace, self._prepared.planned.plan.all_devices))

    def _say(self, line: str) -> None:
        say(self._console, line)


def _say_stall(line: str) -> None:
    print(f"gru_parallel: {line}", file=sys.stderr, flush=True)
