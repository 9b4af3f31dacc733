"""report.html: all that runs came to, side by side, on one page that opens offline.

The page is one figure of plotly's, which plotly writes with its own library inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gru_parallel.report.page_curves import forecasts, losses, memory, memory_axis
from gru_parallel.report.page_tables import environment, errors, outcome, overview
from gru_parallel.report.page_text import page_text
from gru_parallel.report.page_timelines import measured, predicted, stage_axis
from gru_parallel.report.run_result import RunResult
from gru_parallel.whole_file import whole_file

_WIDTH, _MARGINS = 760, 320  # pixels: of a run, and of both margins
_TITLE, _GAP = 60, 90  # pixels: of the page's title, and between panels
_TABLE_HEAD, _TABLE_ROW, _MOST_TABLE_ROWS = 50, 25, 24
_STAGE, _LEAST_STAGES, _MOST_STAGES = 26, 5, 40
_CURVES = 260

_TIME = "time (ms)"

# A page of results is not to be sent anywhere by a click.
_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["sendChartToCloud"]}


@dataclass(frozen=True)
class _Panel:
    """A row of the page, with a part for each run.

    Attributes:
        title: of each part.
        traces: of plotly, that show a run.
        height: of the part of a run, in pixels.
        y_axis: settings of its vertical axis.
        x_title: of its horizontal axis.
        is_table: whether it is a table.
    """

    title: str
    traces: Callable[[RunResult], list[Any]]
    height: Callable[[RunResult], int] = lambda _: _CURVES
    y_axis: Callable[[RunResult], dict[str, Any]] = lambda _: {}
    x_title: str = ""
    is_table: bool = False


def _table_height(n_rows: int) -> int:
    return _TABLE_HEAD + _TABLE_ROW * min(n_rows, _MOST_TABLE_ROWS)


def _stages_height(result: RunResult) -> int:
    return _STAGE * max(_LEAST_STAGES, min(result.plan.n_stages, _MOST_STAGES))


_PANELS = (
    _Panel("run", overview, lambda _: _table_height(13), is_table=True),
    _Panel(
        "plan and outcome",
        outcome,
        lambda result: _table_height(result.plan.n_stages),
        is_table=True,
    ),
    _Panel("predicted step", predicted, _stages_height, stage_axis, _TIME),
    _Panel("measured step", measured, _stages_height, stage_axis, _TIME),
    _Panel("memory, by the planned size of a cell", memory, y_axis=memory_axis, x_title=_TIME),
    _Panel("losses", losses, x_title="steps of the optimiser"),
    _Panel("errors in the test", errors, lambda _: _table_height(4), is_table=True),
    _Panel("forecasts over the test part", forecasts),
    _Panel("versions and machine", environment, lambda _: _table_height(8), is_table=True),
)


def write_page(results: Mapping[str, RunResult], path: Path) -> None:
    """Write the page of some runs, by name; to open it takes no network."""
    with whole_file(path) as part:
        page(results).write_html(part, include_plotlyjs=True, config=_CONFIG)


def page(results: Mapping[str, RunResult]) -> go.Figure:
    """Draw some runs, by name: a column for each, and a row for each thing that there is to see."""
    names, runs = list(map(page_text, results)), list(results.values())
    heights = [max(map(panel.height, runs)) for panel in _PANELS]
    whole = sum(heights) + _GAP * (len(heights) - 1)
    figure = make_subplots(
        rows=len(_PANELS),
        cols=len(runs),
        row_heights=heights,
        vertical_spacing=_GAP / whole,
        horizontal_spacing=0.18 / len(runs),
        specs=[[{"type": "table" if panel.is_table else "xy"}] * len(runs) for panel in _PANELS],
        subplot_titles=[f"<b>{name}</b>: {panel.title}" for panel in _PANELS for name in names],
    )
    for row, panel in enumerate(_PANELS, start=1):
        named: set[str] = set()
        for column, result in enumerate(runs, start=1):
            _draw(figure, panel, result, (row, column), named)
    _link_step_times(figure, runs)
    figure.update_layout(
        title={"text": "gru_parallel: report", "x": 0.01},
        template="plotly_white",
        barmode="overlay",
        hovermode="closest",
        height=whole + 2 * _TITLE + _GAP,
        width=_WIDTH * len(runs) + _MARGINS,
        margin={"t": 2 * _TITLE, "b": _GAP, "l": _MARGINS // 3, "r": 2 * _MARGINS // 3},
    )
    return figure


def _draw(
    figure: go.Figure, panel: _Panel, result: RunResult, place: tuple[int, int], named: set[str]
) -> None:
    """Draw a run into a panel, at a row and column of the page, whose legend has these names."""
    row, column = place
    for trace in panel.traces(result):
        if not panel.is_table:
            # One legend for all runs; a name in it shows and hides its traces in all of them.
            group = f"{row} {trace.legendgroup or trace.name}"
            is_new = trace.name not in named
            trace.update(legend=f"legend{row}", legendgroup=group, showlegend=is_new)
            named.add(trace.name)
        figure.add_trace(trace, row=row, col=column)
    if panel.is_table:
        return
    figure.update_xaxes(title=panel.x_title, row=row, col=column)
    figure.update_yaxes(panel.y_axis(result), row=row, col=column)
    (axis,) = figure.select_yaxes(row=row, col=column)
    figure.update_layout({f"legend{row}": {"x": 1.01, "y": axis.domain[1], "yanchor": "top"}})


def _link_step_times(figure: go.Figure, runs: Sequence[RunResult]) -> None:
    """Give all steps one scale, and have those of a run zoom together."""
    steps = [step for run in runs for step in (run.predicted, run.measured) if step is not None]
    until_ms = max(step.step_ms for step in steps) or 1.0
    rows = [row for row, panel in enumerate(_PANELS, start=1) if panel.x_title == _TIME]
    for column in range(1, len(runs) + 1):
        for row in rows:
            figure.update_xaxes(range=[0, until_ms], row=row, col=column)
        first, *others = (next(figure.select_xaxes(row=row, col=column)) for row in rows)
        for axis in others:
            axis.matches = first.plotly_name.replace("axis", "")
