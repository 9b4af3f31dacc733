"""A training step as a picture: as the plan promised it, as it was, and the memory that it took."""

from pathlib import Path
from typing import Literal

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gru_parallel.report.memory_curve import MemoryCurve, memory_curves
from gru_parallel.report.run_result import RunResult
from gru_parallel.report.stage_names import stage_names
from gru_parallel.report.timeline_axes import (
    QUIET,
    draw_legend,
    draw_timeline,
    row_inches,
    style_time,
)
from gru_parallel.report.timeline_picture import (
    BOTTOM_INCHES,
    TOP_INCHES,
    add_axes,
    draw_heading,
    empty_figure,
    explain_labels,
    numbers_of,
    save_figure,
)
from gru_parallel.report.units import byte_unit, format_ms
from gru_parallel.schedule import Timeline

_BETWEEN_INCHES = 0.3
_MEMORY_INCHES = 1.5
_MOST_SHOWN = 8
_LINES: dict[str, Literal["--", "-"]] = {"predicted": "--", "measured": "-"}


def draw_step(result: RunResult, path: Path | str) -> None:
    """Draw the step of a run into a PNG file; without a measured one, draw nothing."""
    if result.measured is not None:
        save_figure(step_figure(result, result.measured), path)


def step_figure(result: RunResult, measured: Timeline) -> Figure:
    """Draw the predicted step above the measured one, and the memory of both below.

    Args:
        result: of the run.
        measured: its measured step.

    Returns:
        A figure of three pairs of axes, all with the same time axis, in ms from the first start.
    """
    plan, predicted = result.plan, result.predicted
    names = stage_names(plan.n_stages, [stage.device_text for stage in plan.stages])
    until_ms = max(predicted.step_ms, measured.step_ms) or 1.0
    rows_inches = plan.n_stages * row_inches(plan.n_stages)
    panel_inches = TOP_INCHES + rows_inches + _BETWEEN_INCHES
    figure = empty_figure(2 * panel_inches + TOP_INCHES + _MEMORY_INCHES + BOTTOM_INCHES)

    above = add_axes(figure, names, TOP_INCHES, rows_inches)
    below = add_axes(figure, names, panel_inches + TOP_INCHES, rows_inches)
    memory = add_axes(figure, names, 2 * panel_inches + TOP_INCHES, _MEMORY_INCHES)
    have_labels = [
        draw_timeline(axes, timeline, names, until_ms)
        for axes, timeline in ((above, predicted), (below, measured))
    ]
    for axes in (above, below):
        axes.set_xlabel("")
    draw_heading(above, f"Predicted step, {plan.grid.schedule}", numbers_of(predicted))
    draw_legend(above, [predicted, measured])
    title = f"Measured step, number {result.summary.timeline_step:,}"
    draw_heading(below, title, numbers_of(measured), _median(result))
    memory.set_xlim(0, until_ms)
    _draw_memory(
        memory,
        {
            "predicted": memory_curves(predicted, predicted, result.summary.stages),
            "measured": memory_curves(measured, predicted, result.summary.stages),
        },
    )
    note = "cells alive times the planned size of a cell, on top of what is always there"
    draw_heading(memory, "Memory", "", note)
    if any(have_labels):
        explain_labels(figure)
    return figure


def _median(result: RunResult) -> str:
    summary = result.summary
    if summary.timeline_step_ms is None or summary.step_ms is None:
        return ""
    return (
        f"with the optimiser {format_ms(summary.timeline_step_ms)};"
        f" median of {summary.timed_steps:,} steps {format_ms(summary.step_ms)}"
    )


def _draw_memory(axes: Axes, curves: dict[str, list[MemoryCurve]]) -> None:
    """Draw a line for each stage, or for eight of many: the prediction dashed, the other solid."""
    style_time(axes)
    n_stages = len(curves["measured"])
    n_shown = min(n_stages, _MOST_SHOWN)
    shown = [round(i * (n_stages - 1) / max(1, n_shown - 1)) for i in range(n_shown)]
    # The end of the scale, yellow, cannot be seen on white.
    colours = [colormaps["viridis"](0.7 * i / max(1, n_shown - 1)) for i in range(n_shown)]
    all_bytes = [max(curve.n_bytes) for of_stages in curves.values() for curve in of_stages]
    unit_bytes, unit = byte_unit(max(all_bytes, default=0.0))
    handles = [Line2D([], [], color=QUIET, linestyle=_LINES[kind], label=kind) for kind in curves]
    for stage, colour in zip(shown, colours, strict=True):
        handles.append(Line2D([], [], color=colour, label=f"stage {stage}"))
        for kind, of_stages in curves.items():
            n_units = [n_bytes / unit_bytes for n_bytes in of_stages[stage].n_bytes]
            axes.plot(
                of_stages[stage].times_ms,
                n_units,
                drawstyle="steps-post",
                linestyle=_LINES[kind],
                linewidth=1.2,
                color=colour,
            )
    axes.set_ylim(0, 1.08 * max(all_bytes, default=0.0) / unit_bytes or 1.0)
    axes.set_ylabel(unit, fontsize=8, color=QUIET)
    axes.tick_params(axis="y", labelsize=8, colors=QUIET)
    axes.spines["left"].set_color(QUIET)
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(handles),
        fontsize=8,
        frameon=False,
        borderaxespad=0.4,
        handlelength=1.6,
        columnspacing=1.0,
    )
