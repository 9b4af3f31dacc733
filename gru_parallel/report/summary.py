"""The result of a run: as a file that scripts read, and as a table beside the baselines."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from rich import box
from rich.table import Table
from rich.text import Text

from gru_parallel.report.json_file import write_json
from gru_parallel.report.outcome import StageOutcome
from gru_parallel.report.units import format_error

_MODEL = "model"
LABELS = {"repeat_last": "repeat last value", "seasonal_naive": "seasonal naive"}
_COVERAGE = "coverage_"


@dataclass(frozen=True)
class Summary:
    """The result of a run; the names are the keys of summary.json.

    Attributes:
        ended: how the run ended: "completed", "stopped early", "interrupted", "failed" or, in a
            search, "pruned".
        reason: why it ended before its last epoch or step, or None.
        test_metrics: what was measured on the test windows by name, see `metric_names`; less is
            better, but of a coverage. None without a test.
        baselines: the same errors of each baseline on the same windows, like
            {"repeat_last": {"mse": 0.3}}; empty without a test.
        test_windows: number of windows tested.
        all_test_windows: number of windows in the test part.
        validation_loss: `val/loss` of the weights that are tested: the lowest, or where no
            checkpoint has kept those weights, that of the last validation; None without one.
        best_epoch: the epoch of the lowest `val/loss`, counted from 0, or None.
        n_parameters: number of parameters trained.
        epochs: number of epochs begun.
        steps: number of steps of the optimiser.
        timed_steps: number of steps of which step_ms and samples_per_s are the medians.
        step_ms: time of one training step, or None if none was timed: of the batch after which the
            optimiser steps, where several are accumulated.
        samples_per_s: windows trained on per second, or None if not measured.
        predicted_step_ms: time of one training step that the plan predicted.
        predicted_bubble: idle share that the plan predicted, from 0 to 1.
        timeline_step: the step that timeline.png and trace.json show, or None without them.
        timeline_step_ms: time of that step, its optimiser step included.
        measured_bubble: idle share of that step.
        stages: what was promised of each stage, and what came of it in that step.
        peak_rss_growth_bytes: how much the peak of this process's resident memory grew from before
            the model was made to the end of the run; None if that was not measured.
        warnings: what the results should be read with, in sentences.
        environment: versions, machine and devices that the run had.
        best_checkpoint: path of the best checkpoint, or None without one.
        last_checkpoint: path of the last checkpoint, or None without one.
        tf32: whether GRUs of float32 use TF32, or None where no stage is on CUDA.
        validation_windows: number of windows that each validation was on.
        validation_baselines: errors on these windows of the baseline that repeats the last value;
            empty without a validation.
        is_warm: whether the timed steps come after the first ones, which take longer.
    """

    ended: str
    reason: str | None
    test_metrics: dict[str, float] | None
    baselines: dict[str, dict[str, float]]
    test_windows: int
    all_test_windows: int
    validation_loss: float | None
    best_epoch: int | None
    n_parameters: int
    epochs: int
    steps: int
    timed_steps: int
    step_ms: float | None
    samples_per_s: float | None
    predicted_step_ms: float
    predicted_bubble: float
    timeline_step: int | None
    timeline_step_ms: float | None
    measured_bubble: float | None
    stages: list[StageOutcome] = field(default_factory=list)
    peak_rss_growth_bytes: int | None = None
    warnings: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    best_checkpoint: str | None = None
    last_checkpoint: str | None = None
    tf32: bool | None = None
    validation_windows: int = 0
    validation_baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    is_warm: bool = True


class Tested(Protocol):
    """What a test came to, by the names of `Summary`."""

    @property
    def test_metrics(self) -> Mapping[str, float] | None:
        """Errors on the test windows by name; None without a test."""
        ...

    @property
    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """The same errors of each baseline."""
        ...

    @property
    def test_windows(self) -> int:
        """Number of windows tested."""
        ...

    @property
    def all_test_windows(self) -> int:
        """Number of windows in the test part."""
        ...


def write_summary(summary: Summary, path: Path | str) -> None:
    """Write the summary as strict JSON: NaN and infinite numbers become null."""
    write_json(asdict(summary), path)


def read_summary(path: Path | str) -> Summary:
    """Read a summary that `write_summary` wrote; an error that is null in it is NaN."""
    entries = json.loads(Path(path).read_text(encoding="utf-8"))
    baselines = (entries["baselines"], entries.get("validation_baselines", {}))
    of_baselines = (errors for by_name in baselines for errors in by_name.values())
    for errors in (entries["test_metrics"] or {}, *of_baselines):
        errors |= {name: math.nan for name, error in errors.items() if error is None}
    stages = [StageOutcome(**stage) for stage in entries.pop("stages")]
    return Summary(**entries, stages=stages)


def results_table(result: Tested, what: str = "Test") -> Table:
    """Show test metrics beside those of the baselines, the best of each in bold.

    The table has one row for the model and each baseline, and one column per error. An error that
    is unknown or not finite is never the best. What is measured of quantiles stands below: what the
    intervals of the model hold, beside what they should. The title tells if not all windows were
    tested.
    """
    measured = result.test_metrics or {}
    metrics = {name: value for name, value in measured.items() if not _is_of_quantiles(name)}
    table = Table(
        title=Text(_title(result, what), style="bold"),
        caption=Text(_of_quantiles(measured)),
        caption_style="",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("")
    for metric in metrics:
        table.add_column(metric_label(metric), justify="right")
    rows = {_MODEL: metrics, **result.baselines}
    best = {metric: _least(rows.values(), metric) for metric in metrics}
    for name, row in rows.items():
        cells = [_cell(row.get(metric), best[metric]) for metric in metrics]
        table.add_row(LABELS.get(name, name), *cells)
    return table


def metric_label(name: str) -> str:
    """Return what a table calls a metric."""
    if name.startswith(_COVERAGE):
        return f"in {_nominal(name)} % interval"
    return {"smape": "sMAPE", "pinball": "pinball"}.get(name, name.upper())


def _is_of_quantiles(name: str) -> bool:
    return name == "pinball" or name.startswith(_COVERAGE)


def _nominal(coverage: str) -> str:
    """Return the share, in percent, that a coverage should have."""
    return coverage.removeprefix(_COVERAGE).replace("_", ".")


def _of_quantiles(metrics: Mapping[str, float]) -> str:
    """Say what was measured of quantiles; nothing where there are none."""
    if "pinball" not in metrics:
        return ""
    lines = [f"pinball loss: {format_error(metrics['pinball'])}"]
    lines += [
        f"interval of {_nominal(name)} %: holds {100 * share:.1f} % of the values"
        for name, share in metrics.items()
        if name.startswith(_COVERAGE)
    ]
    return "\n".join(lines)


def _title(result: Tested, what: str) -> str:
    n_windows, n_all = result.test_windows, result.all_test_windows
    return what if n_windows == n_all else f"{what} on {n_windows:,} of {n_all:,} windows"


def _least(rows: Iterable[Mapping[str, float]], metric: str) -> float | None:
    return min(
        (row[metric] for row in rows if math.isfinite(row.get(metric, math.nan))), default=None
    )


def _cell(error: float | None, best: float | None) -> Text:
    if error is None:
        return Text("-")
    return Text(format_error(error), style="bold" if error == best else "")
