"""Timelines as bars of plotly: one row per stage, a bar for each action."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from gru_parallel.report.run_result import RunResult
from gru_parallel.report.stage_names import stage_names
from gru_parallel.report.timeline_colours import COLOURS, IDLE_COLOUR, IDLE_MEANING, MEANING
from gru_parallel.report.units import format_ms
from gru_parallel.schedule import Event, Op, Timeline

_BAR_WIDTH = 0.78  # of a row


def predicted(result: RunResult) -> list[Any]:
    """Draw the step that the plan promised."""
    return _bars(result.predicted)


def measured(result: RunResult) -> list[Any]:
    """Draw a step as it was; nothing where none was timed."""
    return [] if result.measured is None else _bars(result.measured)


def stage_axis(result: RunResult) -> dict[str, Any]:
    """Name the rows, stage 0 at the top."""
    n_stages = result.plan.n_stages
    return {
        "tickvals": list(range(n_stages)),
        "ticktext": stage_names(n_stages, [stage.device_text for stage in result.plan.stages]),
        "range": [n_stages - 0.5, -0.5],
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
    }


def _bars(timeline: Timeline) -> list[Any]:
    """Draw the whole step of each stage in grey, and upon it its actions, a trace for each op."""
    idle = go.Bar(
        x=[timeline.step_ms] * timeline.n_stages,
        y=list(range(timeline.n_stages)),
        orientation="h",
        width=_BAR_WIDTH,
        marker={"color": IDLE_COLOUR},
        name=IDLE_MEANING,
        hoverinfo="skip",
    )
    start_ms = min((event.start_ms for event in timeline.events), default=0.0)
    of_ops = {op: [e for e in timeline.events if e.action.op is op] for op in COLOURS}
    return [idle, *(_actions(op, events, start_ms) for op, events in of_ops.items() if events)]


def _actions(op: Op, events: list[Event], start_ms: float) -> Any:
    return go.Bar(
        base=[event.start_ms - start_ms for event in events],
        x=[event.duration_ms for event in events],
        y=[event.action.stage for event in events],
        orientation="h",
        width=_BAR_WIDTH,
        marker={"color": COLOURS[op], "line": {"color": "white", "width": 0.5}},
        name=MEANING[op],
        customdata=[_words(event, start_ms) for event in events],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _words(event: Event, start_ms: float) -> str:
    """Say which action it is, on which cell, how long it took, and when it began."""
    action = event.action
    return (
        f"<b>{action}</b>: {MEANING[action.op]} on stage {action.stage}<br>"
        f"micro-batch {action.micro_batch}, chunk {action.chunk}<br>"
        f"{format_ms(event.duration_ms)}, from {event.start_ms - start_ms:.3f} ms on"
    )
