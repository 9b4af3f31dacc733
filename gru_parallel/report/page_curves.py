"""Memory, losses and forecasts as lines of plotly."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import plotly.graph_objects as go
from plotly.colors import qualitative

from gru_parallel.data.forecast import Forecast
from gru_parallel.report.forecast_colours import CAME, FORECAST
from gru_parallel.report.memory_curve import MemoryCurve, memory_curves
from gru_parallel.report.page_text import page_text
from gru_parallel.report.run_result import RunResult
from gru_parallel.report.units import byte_unit, format_bytes

_LOSSES = {
    "train/loss": "training, step by step",
    "train/loss_epoch": "training, mean of the epoch",
    "val/loss": "validation",
}
_COLOURS = {"train/loss": "#9DB8CC", "train/loss_epoch": "#0072B2", "val/loss": "#D55E00"}


def memory(result: RunResult) -> list[Any]:
    """Draw the memory of each stage over the step: predicted dashed, measured solid."""
    unit_bytes, _ = _unit(result)
    return [
        _memory(kind, stage, curve, unit_bytes)
        for kind, timeline in (("predicted", result.predicted), ("measured", result.measured))
        if timeline is not None
        for stage, curve in enumerate(
            memory_curves(timeline, result.predicted, result.summary.stages)
        )
    ]


def memory_axis(result: RunResult) -> dict[str, Any]:
    """Name the unit of memory, and begin at nothing."""
    return {"title": _unit(result)[1], "rangemode": "tozero"}


def losses(result: RunResult) -> list[Any]:
    """Draw losses over the steps of the optimiser."""
    lines = []
    for column, name in _LOSSES.items():
        rows = [row for row in result.rows if column in row]
        if rows:
            lines.append(
                go.Scatter(
                    x=[row["step"] for row in rows],
                    y=[row[column] for row in rows],
                    mode="lines" if len(rows) > 1 else "markers",
                    line={"color": _COLOURS[column]},
                    name=name,
                    hovertemplate="step %{x}: %{y:.4g}",
                )
            )
    return lines


def forecasts(result: RunResult) -> list[Any]:
    """Draw what came and what was forecast, of each series and target; at first only of one."""

    def whose(forecast: Forecast) -> tuple[str, str]:
        return forecast.unique_id, forecast.target

    lines = []
    of_all = groupby(sorted(result.forecasts, key=whose), key=whose)
    for number, ((series, target), found) in enumerate(of_all):
        name = page_text(f"{series} {target}".strip())
        lines += _forecasts(name, list(found), "legendonly" if number else True)
    return lines


def _unit(result: RunResult) -> tuple[int, str]:
    """Return the bytes and the name of the unit that suits the stages' memory."""
    return byte_unit(max(stage.predicted_memory_bytes for stage in result.summary.stages))


def _memory(kind: str, stage: int, curve: MemoryCurve, unit_bytes: int) -> Any:
    # The same for a stage in all runs.
    colour = qualitative.D3[stage % len(qualitative.D3)]
    return go.Scatter(
        x=curve.times_ms,
        y=[n_bytes / unit_bytes for n_bytes in curve.n_bytes],
        line={"shape": "hv", "color": colour, "dash": "dash" if kind == "predicted" else "solid"},
        mode="lines",
        name=f"stage {stage}, {kind}",
        customdata=[
            f"{n_cells} cells, {format_bytes(n_bytes)}"
            for n_cells, n_bytes in zip(curve.n_cells, curve.n_bytes, strict=True)
        ],
        hovertemplate="%{x:.3f} ms: %{customdata}",
    )


def _forecasts(name: str, found: list[Forecast], visible: bool | str) -> list[Any]:
    """Draw what came, and forecasts with their interval, which are broken between windows.

    What came is broken only where what is between two windows is not shown.
    """
    came, line, outline = _Path(), _Path(), _Path()
    share, shown_until = 0.0, ""
    for cutoff, of_window in groupby(found, key=lambda forecast: forecast.cutoff):
        window = list(of_window)
        came.add(((forecast.ds, forecast.y) for forecast in window), is_next=cutoff == shown_until)
        shown_until = window[-1].ds
        line.add((forecast.ds, forecast.y_hat) for forecast in window)
        if len(window[0].quantiles) > 1:
            there = [(forecast.ds, forecast.quantiles[-1][1]) for forecast in window]
            back = [(forecast.ds, forecast.quantiles[0][1]) for forecast in reversed(window)]
            outline.add([*there, *back, there[0]])
            share = window[0].quantiles[-1][0] - window[0].quantiles[0][0]
    return [
        *(
            [_interval(f"{name}: {100 * share:.4g} % interval", name, outline, visible)]
            if outline.times
            else []
        ),
        go.Scatter(
            x=came.times,
            y=came.values,
            mode="lines",
            line={"color": CAME, "width": 1.2},
            name=f"{name}: what came",
            legendgroup=name,
            visible=visible,
        ),
        go.Scatter(
            x=line.times,
            y=line.values,
            mode="lines+markers",
            marker={"size": 3},
            line={"color": FORECAST, "width": 1.2},
            name=f"{name}: forecast",
            legendgroup=name,
            visible=visible,
        ),
    ]


def _interval(title: str, name: str, outline: _Path, visible: bool | str) -> Any:
    """Shade what lies within an outline."""
    return go.Scatter(
        x=outline.times,
        y=outline.values,
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=FORECAST,
        opacity=0.3,
        hoverinfo="skip",
        name=title,
        legendgroup=name,
        visible=visible,
    )


class _Path:
    """Points of a line of plotly, which is broken between its parts."""

    def __init__(self) -> None:
        self.times: list[float | str | None] = []
        self.values: list[float | None] = []

    def add(self, points: Iterable[tuple[str, float]], *, is_next: bool = False) -> None:
        """Add a part, or more of the last one, if these points are next to it."""
        if self.times and not is_next:
            self.times.append(None)
            self.values.append(None)
        for ds, value in points:
            self.times.append(_place(ds))
            self.values.append(value)


def _place(ds: str) -> float | str:
    """Return a number where the series has no times, but counts its rows."""
    try:
        return float(ds)
    except ValueError:
        return ds
