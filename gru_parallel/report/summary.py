"""The result of a run: as a file that scripts read, and as a table beside the baselines."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

_MODEL = "model"
_LABELS = {"repeat_last": "repeat last value", "seasonal_naive": "seasonal naive"}


@dataclass(frozen=True)
class Summary:
    """What a run came to; the names are the keys of summary.json.

    Attributes:
        test_metrics: errors on the test part by name, like {"mse": 0.1, "mae": 0.2}; less is
            better.
        baselines: the same errors of each baseline, like {"repeat_last": {"mse": 0.3}}.
        n_parameters: numbers that were trained.
        epochs: epochs that were begun.
        steps: steps of the optimiser.
        step_ms: time of one training step, or None if none was measured.
        samples_per_s: windows trained on in a second, or None if that was not measured.
        predicted_bubble: idle share that the plan promised, from 0 to 1.
        measured_bubble: idle share of the measured step, or None if none was measured.
        best_checkpoint: path of the best checkpoint, or None without one.
        last_checkpoint: path of the last checkpoint, or None without one.
    """

    test_metrics: dict[str, float]
    baselines: dict[str, dict[str, float]]
    n_parameters: int
    epochs: int
    steps: int
    step_ms: float | None
    samples_per_s: float | None
    predicted_bubble: float
    measured_bubble: float | None
    best_checkpoint: str | None = None
    last_checkpoint: str | None = None


def write_summary(summary: Summary, path: Path | str) -> None:
    """Write the summary as strict JSON: what is NaN or infinite becomes null.

    Args:
        summary: the run's result.
        path: the JSON file to write.
    """
    text = json.dumps(_strict(asdict(summary)), indent=2, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def results_table(summary: Summary) -> Table:
    """Lay the test metrics out beside those of the baselines, the best of each in bold.

    Args:
        summary: the run's result.

    Returns:
        A table with a row for the model and each baseline, and a column for each test metric. An
        error that is not known, or not finite, is never the best.
    """
    table = Table(title=Text("Test", style="bold"), box=box.SIMPLE_HEAD)
    table.add_column("")
    for metric in summary.test_metrics:
        table.add_column(metric.upper(), justify="right")
    rows = {_MODEL: summary.test_metrics} | summary.baselines
    best = {metric: _least(rows.values(), metric) for metric in summary.test_metrics}
    for name, row in rows.items():
        cells = [_cell(row.get(metric), best[metric]) for metric in summary.test_metrics]
        table.add_row(_LABELS.get(name, name), *cells)
    return table


def _strict(value: object) -> object:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _least(rows: Iterable[dict[str, float]], metric: str) -> float | None:
    return min(
        (row[metric] for row in rows if math.isfinite(row.get(metric, math.nan))), default=None
    )


def _cell(error: float | None, best: float | None) -> Text:
    if error is None:
        return Text("-")
    return Text(f"{error:.4f}", style="bold" if error == best else "")
