"""Runs side by side: those that differ only in their seed as one row, with mean and spread."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from gru_parallel.choices import DEFAULT_QUANTILES, HEAD_TASKS
from gru_parallel.report.summary import Summary

VAL_LOSS, VAL_MSE = "val/loss", "val/mse"
SEED = "seed"

_LEVELS = "model.quantiles"
_LOSS = ("model.loss", _LEVELS, "data.weight")
"""Settings by which losses are of different kinds."""

_VALIDATION = ("data.validation_path", "trainer.limit_val_batches")
"""Settings that tell on which windows a run was validated, where it has not recorded them."""

_LIMITS = tuple(f"trainer.{n}" for n in ("limit_val_batches", "overfit_batches", "fast_dev_run"))
"""Settings by which a validation has fewer windows, or others."""

_SAME_RESULT = ("ckpt_path", "checkpoint", "logger", "watch", "trainer.enable_progress_bar")
"""Settings, and sections of them, by which the results of runs do not differ."""

_ANY_WINDOWS = frozenset(
    f"data.{name}"
    for name in (
        "batch_size",
        "calendar",
        "centre",
        "input_length",
        "min_input_length",
        "num_workers",
        "order",
        "season_length",
        "stride",
    )
)
"""Settings of the data that leave the same forecasts to validate and to test."""


@dataclass(frozen=True)
class ComparedRun:
    """A run that has ended.

    Attributes:
        name: its folder.
        settings: by full name.
        summary: what it came to.
        validation: metrics of its best validation, like {"val/loss": 0.1}; empty without one.
    """

    name: str
    settings: Mapping[str, Any]
    summary: Summary
    validation: Mapping[str, float]

    @property
    def metrics(self) -> dict[str, float]:
        """What is compared, by name; what the run does not have is left out."""
        tested = (self.summary.test_metrics or {}).items()
        found = dict(self.validation) | {f"test/{name}": value for name, value in tested}
        if self.summary.step_ms is not None:
            found["step_ms"] = self.summary.step_ms
        return found

    def windows(self, *, by_record: bool) -> Hashable:
        """Return what tells the forecasts that it was measured on from those of other runs.

        The errors of the baseline that repeats the last value do, whatever the name of the file
        is: they depend on the windows and their scale, and on nothing else. Without a test, the
        settings of the data have to.

        Args:
            by_record: whether what is recorded of the validation counts, or the settings.
        """
        is_unscaled = self.settings.get("data.scaling") == "none"
        # Else another training part shows in the scale of the errors.
        training = str(self.settings.get("data.split")) if is_unscaled else None
        validated_on: tuple[Hashable, ...] = ()
        if by_record:
            found = self.summary
            validated_on = _identity(found.validation_windows, found.validation_baselines)
        if not validated_on:
            validated_on = tuple(str(self.settings.get(name)) for name in _VALIDATION)
        return training, validated_on, self.tested_on

    @property
    def tested_on(self) -> Hashable:
        """What tells the forecasts of its test from those of other runs, see `windows`."""
        summary = self.summary
        return _identity(summary.test_windows, summary.baselines) or tuple(
            sorted({what_is_forecast(*each) for each in self.settings.items()} - {""})
        )


@dataclass(frozen=True)
class Spread:
    """A metric over the runs of a row that have it.

    Attributes:
        deviation: the sample standard deviation, with n - 1; None for one run.
        least, most: the smallest and the largest value.
        n: number of runs.
    """

    mean: float
    deviation: float | None
    least: float
    most: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Describe at least one value; NaN stays NaN."""
        if not all(map(math.isfinite, values)):
            return cls(math.nan, None, math.nan, math.nan, len(values))
        deviation = stdev(values) if len(values) > 1 else None
        return cls(fmean(values), deviation, min(values), max(values), len(values))


@dataclass(frozen=True)
class Row:
    """Runs with the same settings, but for their seed.

    Attributes:
        settings: of those by which the compared runs differ; None for one that it does not have.
        runs: at least one.
        metrics: over its runs, by name.
    """

    settings: Mapping[str, Any]
    runs: Sequence[ComparedRun]
    metrics: Mapping[str, Spread]

    @property
    def seeds(self) -> list[Any]:
        """Of its runs, in their order."""
        return [run.settings.get(SEED) for run in self.runs]


@dataclass(frozen=True)
class Comparison:
    """Rows that can be compared, because all were measured on the same forecasts.

    Attributes:
        rows: in the order of their first runs.
        chosen_by: the metric of the validation whose lowest mean makes a row the best.
        best: the number of that row; None where no row has a validation.
        other_losses: the settings by which the losses of its runs are of different kinds.
    """

    rows: Sequence[Row]
    chosen_by: str
    best: int | None
    other_losses: Sequence[str] = ()

    @property
    def has_other_levels(self) -> bool:
        """Whether pinball losses are means over other quantiles in some runs than in others."""
        return len({_kind(run, _LEVELS) for run in self.runs if _has_pinball(run)}) > 1

    @property
    def runs(self) -> list[ComparedRun]:
        """All runs."""
        return [run for row in self.rows for run in row.runs]

    @property
    def best_run(self) -> ComparedRun | None:
        """The run of the best row whose validation was the best."""
        if self.best is None:
            return None
        return min(self.rows[self.best].runs, key=lambda run: _number(run, self.chosen_by))


def compare(runs: Sequence[ComparedRun]) -> list[Comparison]:
    """Group runs into rows, and rows into what can be compared, in the order of the runs."""
    names = differing(runs)
    groups: dict[Hashable, list[ComparedRun]] = {}
    # Earlier versions have recorded nothing of it.
    by_record = all(run.summary.validation_baselines for run in runs if run.validation)
    for run in runs:
        groups.setdefault(run.windows(by_record=by_record), []).append(run)
    return [_comparison(group, names) for group in groups.values()]


def differing(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the names of the settings by which runs differ, other than the seed."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    return [
        name
        for name in names
        if name != SEED
        and not any(name == same or name.startswith(f"{same}.") for same in _SAME_RESULT)
        and len({repr(run.settings.get(name)) for run in runs}) > 1
    ]


def why_apart(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the settings by which comparisons differ, and which keep them from being one."""
    runs = [run for comparison in comparisons for run in comparison.runs]
    return [
        name
        for name in differing(runs)
        if len({what_is_forecast(name, run.settings.get(name)) for run in runs}) > 1
    ]


def repeated_seeds(row: Row) -> list[ComparedRun]:
    """Return the runs of a row that repeat another one of it, seed included."""
    seeds = [repr(seed) for seed in row.seeds]
    return [run for number, run in enumerate(row.runs) if seeds[number] in seeds[:number]]


def _identity(n_windows: int, baselines: Mapping[str, Mapping[str, float]]) -> tuple[Hashable, ...]:
    """Return what tells windows from others; () where that is not known."""
    repeated = baselines.get("repeat_last")
    if repeated is None:
        return ()
    # What else is measured does depend on more, as MASE on the season.
    return (n_windows, *(f"{repeated[name]:.9g}" for name in ("mae", "mse") if name in repeated))


def _comparison(runs: Sequence[ComparedRun], names: Sequence[str]) -> Comparison:
    by_settings: dict[str, list[ComparedRun]] = {}
    for run in runs:
        by_settings.setdefault(repr([run.settings.get(name) for name in names]), []).append(run)
    other_losses = [name for name in _LOSS if len({_kind(run, name) for run in runs}) > 1]
    chosen_by = VAL_MSE if other_losses else VAL_LOSS
    rows = [
        Row({name: alike[0].settings.get(name) for name in names}, alike, _metrics(alike))
        for alike in by_settings.values()
    ]
    means = [row.metrics[chosen_by].mean if chosen_by in row.metrics else math.nan for row in rows]
    finite = [mean for mean in means if math.isfinite(mean)]
    best = means.index(min(finite)) if finite else None
    return Comparison(rows, chosen_by, best, other_losses)


def _kind(run: ComparedRun, name: str) -> str:
    """Return what a setting of the loss comes to, so that what is the same is written alike."""
    value = run.settings.get(name)
    if name == _LEVELS and value is None and _has_pinball(run):
        value = list(DEFAULT_QUANTILES)
    return repr(value)


def _has_pinball(run: ComparedRun) -> bool:
    return any(name.endswith("/pinball") for name in run.metrics)


def _metrics(runs: Iterable[ComparedRun]) -> dict[str, Spread]:
    values: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run.metrics.items():
            values.setdefault(name, []).append(value)
    return {name: Spread.of(found) for name, found in values.items()}


def what_is_forecast(name: str, value: Any) -> str:
    """Return what a setting, by its full name, says of what is forecast; "" for nothing.

    Runs for which it differs cannot be compared. Of a head it is the task: a linear head and a
    decoder forecast the same.
    """
    if name == "model.head":
        return f"{name}={HEAD_TASKS.get(str(value), value)}"
    is_of_data = name.startswith("data.") and name not in _ANY_WINDOWS
    return f"{name}={value}" if is_of_data or name in _LIMITS else ""


def _number(run: ComparedRun, metric: str) -> float:
    value = run.metrics.get(metric, math.inf)
    return value if math.isfinite(value) else math.inf
