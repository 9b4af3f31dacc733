"""What runs came to, as tables of plotly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from gru_parallel.errors import counted
from gru_parallel.report.page_text import page_text
from gru_parallel.report.run_result import RunResult
from gru_parallel.report.summary import LABELS, metric_label
from gru_parallel.report.units import format_bytes, format_error, format_ms, format_percent


def overview(result: RunResult) -> list[Any]:
    """Say how a run ended, what it ran, and what a step took."""
    summary, grid = result.summary, result.plan.grid
    micro_batches = counted(grid.n_micro_batches, "micro-batch", "es")
    cells = f"{micro_batches} x {counted(grid.n_chunks, 'chunk')}"
    rows = {
        "ended": summary.ended if summary.reason is None else f"{summary.ended}: {summary.reason}",
        "steps": f"{summary.steps:,} in {counted(summary.epochs, 'epoch')}",
        "parameters": f"{summary.n_parameters:,}",
        "schedule": f"{grid.schedule}, {cells}",
        "step, planned": format_ms(summary.predicted_step_ms),
        "step, measured": _or_dash(summary.step_ms, format_ms),
        "bubble, planned": format_percent(summary.predicted_bubble),
        "bubble, measured": _or_dash(summary.measured_bubble, format_percent),
        "windows per second": _or_dash(summary.samples_per_s, lambda n: f"{n:,.0f}"),
        "loss": result.loss or "-",
        "validation loss": _or_dash(summary.validation_loss, lambda loss: f"{loss:.4g}"),
        "memory of the process": _or_dash(summary.peak_rss_growth_bytes, _grown),
        "warnings": "\n".join(summary.warnings) or "none",
    }
    return [_list(rows)]


def outcome(result: RunResult) -> list[Any]:
    """Put what was promised of each stage beside what came of it."""
    times, memory = ("time planned", "time measured"), ("memory planned", "memory measured")
    head = ["stage", "device", "layers", *times, *memory]
    rows = [
        [
            str(number),
            stage.device,
            stage.layers,
            format_ms(stage.predicted_ms),
            _or_dash(stage.measured_ms, format_ms),
            format_bytes(stage.predicted_memory_bytes),
            _or_dash(stage.measured_memory_bytes, format_bytes),
        ]
        for number, stage in enumerate(result.summary.stages)
    ]
    return [_table(head, rows)]


def errors(result: RunResult) -> list[Any]:
    """Put the errors of the model beside those of the baselines."""
    metrics = result.summary.test_metrics
    if metrics is None:
        return [_table(["no test"], [])]
    of_all = {"model": metrics} | {
        LABELS.get(name, name): found for name, found in result.summary.baselines.items()
    }
    rows = [
        [name, *(_error(found.get(metric, math.nan)) for metric in metrics)]
        for name, found in of_all.items()
    ]
    table = _table(["", *map(metric_label, metrics)], rows)
    return [table.update(columnwidth=[2, *[1] * len(metrics)])]


def environment(result: RunResult) -> list[Any]:
    """List versions, machine and devices."""
    return [_list(result.summary.environment)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    shown = [list(map(page_text, row)) for row in rows]
    columns = list(zip(*shown, strict=True)) if shown else [()] * len(head)
    return go.Table(
        header={"values": list(head), "align": "left", "fill_color": "#E8EEF2", "height": 28},
        cells={"values": columns, "align": "left", "fill_color": "white", "height": 24},
    )


def _list(rows: Mapping[str, str]) -> Any:
    """Make a table of names and what they are, without a head."""
    table = _table(["", ""], list(rows.items()))
    return table.update(header={"height": 0, "fill_color": "white"}, columnwidth=[1, 3])


def _or_dash(value: float | None, write: Callable[[float], str]) -> str:
    return "-" if value is None else write(value)


def _grown(n_bytes: float) -> str:
    return f"{format_bytes(n_bytes)} more at its peak than before the model"


def _error(error: float) -> str:
    return format_error(error) if math.isfinite(error) else "-"
