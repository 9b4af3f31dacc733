"""The result of a run as its folder has it, so that a report can be made from the folder alone."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from gru_parallel.choices import DEFAULT_QUANTILES
from gru_parallel.data.forecast import Forecast
from gru_parallel.errors import UsageError
from gru_parallel.placement import Plan
from gru_parallel.report.forecasts_file import read_forecasts, write_forecasts
from gru_parallel.report.step_errors_file import write_step_errors
from gru_parallel.report.summary import Summary, read_summary, write_summary
from gru_parallel.report.trace_file import read_trace, write_trace
from gru_parallel.run_folder import RunFolder
from gru_parallel.schedule import Timeline
from gru_parallel.step_errors import StepError

_MEASURED, _PREDICTED = "measured step", "predicted step"
_WHOLE = ("epoch", "step")
_OF_STEPS = (
    "timed_steps",
    "step_ms",
    "samples_per_s",
    "is_warm",
    "predicted_step_ms",
    "predicted_bubble",
    "timeline_step",
    "timeline_step_ms",
    "measured_bubble",
    "stages",
    "peak_rss_growth_bytes",
    "warnings",
    "environment",
)
"""What a summary has of training steps, and of the machine that they ran on."""

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Written in C, where the package was built with it."""


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        summary: how it ended, and its numbers.
        plan: what it ran.
        predicted: a training step as the plan promised it.
        measured: a training step as it was; None where none was timed.
        rows: of the table of what was logged: the value of each column that a row fills.
        forecasts: over the test part; () without a test.
        step_errors: of the test, by target, step and method; they are written, and not read.
        loss: what was minimised, in words; empty where no file tells.
    """

    summary: Summary
    plan: Plan
    predicted: Timeline
    measured: Timeline | None
    rows: tuple[Mapping[str, float], ...] = ()
    forecasts: tuple[Forecast, ...] = ()
    step_errors: tuple[StepError, ...] = ()
    loss: str = ""

    def write(self, folder: RunFolder) -> None:
        """Write what is known when a run ends; plan and metrics are in its folder before."""
        steps = {} if self.measured is None else {_MEASURED: self.measured}
        devices = [stage.device_text for stage in self.plan.stages]
        if self.forecasts:
            write_forecasts(self.forecasts, folder.forecasts)
        if self.step_errors:
            write_step_errors(self.step_errors, folder.test_metrics)
        write_trace(steps | {_PREDICTED: self.predicted}, folder.trace, devices)
        write_summary(self.summary, folder.summary)

    def with_steps_of(self, other: RunResult) -> RunResult:
        """Return the result with the training steps of another one: what was promised and measured.

        Args:
            other: of the same plan.
        """
        steps = {name: getattr(other.summary, name) for name in _OF_STEPS}
        summary = replace(self.summary, **steps)
        return replace(self, summary=summary, predicted=other.predicted, measured=other.measured)

    @classmethod
    def read(cls, folder: Path | str) -> RunResult:
        """Read the result of a run that has ended; times are rounded to ns, and begin at 0.

        Raises:
            UsageError: there is no folder, or it lacks a file, or holds one that no run wrote.
        """
        if not Path(folder).is_dir():
            raise UsageError(f"{folder} is not a folder; give that of a run that has ended.")
        files = RunFolder(folder)
        try:
            steps = read_trace(files.trace)
            return cls(
                read_summary(files.summary),
                Plan.from_json(files.plan.read_text(encoding="utf-8")),
                steps[_PREDICTED],
                steps.get(_MEASURED),
                _read_rows(files.metrics),
                read_forecasts(files.forecasts),
                loss=_read_loss(files.config),
            )
        except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            raise UsageError(
                f"{folder} does not hold the result of a run ({type(error).__name__}: {error});"
                " give the folder of a run that has ended."
            ) from error


def _read_loss(path: Path) -> str:
    """Say what was minimised: losses of different kinds stand side by side on a page."""
    try:
        # Each run reads its own in the end; OmegaConf takes ten times as long for it.
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)
        model, data = settings.get("model") or {}, settings.get("data") or {}
        loss, levels, weight = model.get("loss"), model.get("quantiles"), data.get("weight")
    except (AttributeError, OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    if loss is None:
        return ""
    of = f" of {', '.join(map(str, levels or DEFAULT_QUANTILES))}" if loss == "quantile" else ""
    return f"{loss}{of}{'' if weight is None else f', rows weighted by {weight}'}"


def _read_rows(path: Path) -> tuple[dict[str, float], ...]:
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(
            {
                name: int(text) if name in _WHOLE else float(text)
                for name, text in row.items()
                if text
            }
            for row in csv.DictReader(file)
        )
