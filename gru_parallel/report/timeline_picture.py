"""The timeline, simulated or measured, as a picture: one row per stage, the bubble in grey.

Uses matplotlib's objects and never pyplot, which keeps state for the whole process and is not
made for threads.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gru_parallel.report.label_fit import fit_labels
from gru_parallel.report.run_result import RunResult
from gru_parallel.report.stage_names import stage_names
from gru_parallel.report.units import format_ms, format_percent
from gru_parallel.schedule import Event, Op, Timeline

# Okabe and Ito's palette: apart for every common colour blindness, and in a print without colour.
COLOURS = {Op.F: "#0072B2", Op.B: "#E69F00", Op.W: "#009E73"}
_TEXT_ON = {Op.F: "white", Op.B: "black", Op.W: "white"}
_MEANING = {Op.F: "forward (F)", Op.B: "backward (B)", Op.W: "weights' gradient (W)"}
IDLE_COLOUR = "#E9E9E9"
_QUIET = "#555555"

_DOTS_PER_INCH = 150
_POINTS_PER_INCH = 72
_WIDTH_INCHES = 10.0
_ROW_INCHES = 0.42
_TOP_INCHES = 0.72
_BOTTOM_INCHES = 0.5
_RIGHT_INCHES = 0.2
_BAR_HEIGHT = 0.78  # of a row
_BAR_HEIGHT_POINTS = _BAR_HEIGHT * _ROW_INCHES * _POINTS_PER_INCH
_DENSE = 1.5  # points: cells thinner than this run into one another


def draw_step(result: RunResult, path: Path | str) -> None:
    """Draw the measured step of a run into a PNG file; without one, draw nothing."""
    summary = result.summary
    if result.measured is None or summary.timeline_step_ms is None or summary.step_ms is None:
        return
    title = f"Training step {summary.timeline_step:,}, {result.plan.grid.schedule}"
    note = (
        f"with the optimiser {format_ms(summary.timeline_step_ms)};"
        f" median of {summary.timed_steps:,} steps {format_ms(summary.step_ms)}"
    )
    devices = [stage.device_text for stage in result.plan.stages]
    save_figure(timeline_figure(result.measured, title, devices, note=note), path)


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a PNG file; equal timelines make equal files."""
    # The file would name matplotlib's version, and so depend on it.
    figure.savefig(path, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})


def timeline_figure(
    timeline: Timeline,
    title: str,
    device_names: Sequence[str],
    until_ms: float | None = None,
    note: str = "",
) -> Figure:
    """Draw a timeline into a figure.

    Args:
        timeline: what ran when. Sends and receives are not drawn: a stage waits meanwhile.
        title: the picture's first line.
        device_names: the device of each stage.
        until_ms: where the time axis ends, in ms, so that pictures can share a scale; the end of
            the step if None.
        note: a remark, in small letters at the top right.

    Returns:
        A figure of one pair of axes, stage 0 at the top, time in ms from the first start.

    Raises:
        ValueError: there is not one device name for each stage.
    """
    names = stage_names(timeline.n_stages, device_names)
    figure = Figure(figsize=(_WIDTH_INCHES, _height_inches(timeline.n_stages)))
    FigureCanvasAgg(figure)
    axes = figure.add_axes(_axes_bounds(names))
    # A timeline may have no events, and matplotlib warns of axes of no width.
    axes.set_xlim(0, until_ms or timeline.step_ms or 1.0)
    _style(axes, names)
    _draw_bars(axes, timeline)
    _draw_heading(figure, axes, timeline, title, note)
    if _draw_labels(axes, timeline):
        right, bottom = axes.get_position().x1, 0.15 / figure.get_figheight()
        note = "in the cells: micro-batch.chunk"
        figure.text(right, bottom, note, ha="right", fontsize=8, color=_QUIET)
    return figure


def _height_inches(n_stages: int) -> float:
    return _TOP_INCHES + n_stages * _ROW_INCHES + _BOTTOM_INCHES


def _axes_bounds(names: Sequence[str]) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of the axes as shares of the figure."""
    height = _height_inches(len(names))
    left = 0.25 + 0.075 * max(map(len, names), default=0)
    width = _WIDTH_INCHES - left - _RIGHT_INCHES
    rows = len(names) * _ROW_INCHES
    return left / _WIDTH_INCHES, _BOTTOM_INCHES / height, width / _WIDTH_INCHES, rows / height


def _style(axes: Axes, names: Sequence[str]) -> None:
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8, colors=_QUIET)
    axes.set_xlabel("time (ms)", fontsize=8, color=_QUIET)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_QUIET)


def _draw_bars(axes: Axes, timeline: Timeline) -> None:
    """One collection of bars per stage and op, so that thousands of cells are quick to draw."""
    usual_width = _usual_width_points(axes, _computed(timeline))
    is_dense = usual_width < _DENSE
    # The gap between cells: narrower where cells are, so that it does not hide them.
    gap = 0.0 if is_dense else min(0.8, 0.12 * usual_width)
    start_ms = _start_ms(timeline)
    for stage in range(timeline.n_stages):
        row = (stage - _BAR_HEIGHT / 2, _BAR_HEIGHT)
        axes.broken_barh([(0, timeline.step_ms)], row, facecolor=IDLE_COLOUR, zorder=1)
        for op, colour in COLOURS.items():
            spans = [
                (event.start_ms - start_ms, event.duration_ms)
                for event in timeline.stage_events(stage)
                if event.action.op is op
            ]
            if spans:
                axes.broken_barh(
                    spans,
                    row,
                    facecolor=colour,
                    edgecolor="white",
                    linewidth=gap,
                    # Cells thinner than a dot look even only if none is blurred or moved.
                    antialiased=not is_dense,
                    snap=False if is_dense else None,
                    zorder=2,
                )


def _draw_labels(axes: Axes, timeline: Timeline) -> bool:
    """Write micro-batch.chunk into the cells of each op that has room; return whether any has."""
    start_ms = _start_ms(timeline)
    has_labels = False
    for op in COLOURS:
        events = [event for event in timeline.events if event.action.op is op]
        # The same for all cells of an op: labels in some would seem to mean something.
        width = _usual_width_points(axes, events)
        fit = fit_labels([_label(event) for event in events], width, _BAR_HEIGHT_POINTS)
        if fit is None:
            continue
        has_labels = True
        for event in events:
            axes.text(
                (event.start_ms + event.end_ms) / 2 - start_ms,
                event.action.stage,
                _label(event),
                fontsize=fit.size_points,
                rotation=fit.turn_degrees,
                color=_TEXT_ON[op],
                ha="center",
                va="center_baseline" if fit.turn_degrees == 0 else "center",
                clip_on=True,
                zorder=3,
            )
    return has_labels


def _draw_heading(figure: Figure, axes: Axes, timeline: Timeline, title: str, note: str) -> None:
    height = figure.get_figheight()
    bounds = axes.get_position()
    numbers = f"step {format_ms(timeline.step_ms)}, bubble {format_percent(timeline.bubble)}"
    title_y, numbers_y = 1 - 0.3 / height, 1 - 0.55 / height
    # A dollar sign in title or note does not begin a formula.
    figure.text(bounds.x0, title_y, title, fontsize=11, fontweight="bold", parse_math=False)
    if note:
        at = (bounds.x1, title_y)
        figure.text(*at, note, ha="right", fontsize=8, color=_QUIET, parse_math=False)
    figure.text(bounds.x0, numbers_y, numbers, fontsize=9, color=_QUIET)
    ops = {event.action.op for event in _computed(timeline)}
    handles = [Patch(color=COLOURS[op], label=_MEANING[op]) for op in COLOURS if op in ops]
    handles.append(Patch(color=IDLE_COLOUR, label="idle (bubble)"))
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(handles),
        fontsize=8,
        frameon=False,
        borderaxespad=0.8,
        handlelength=1.2,
        columnspacing=1.2,
    )


def _computed(timeline: Timeline) -> list[Event]:
    return [event for event in timeline.events if event.action.op.is_compute]


def _start_ms(timeline: Timeline) -> float:
    return min((event.start_ms for event in timeline.events), default=0.0)


def _label(event: Event) -> str:
    return f"{event.action.micro_batch}.{event.action.chunk}"


def _usual_width_points(axes: Axes, events: Sequence[Event]) -> float:
    """The width that nine in ten cells have at least: a few thin ones do not count."""
    left_ms, right_ms = axes.get_xlim()
    axes_inches = axes.get_position().width * _WIDTH_INCHES
    durations_ms = sorted(event.duration_ms for event in events) or [0.0]
    usual_ms = durations_ms[len(durations_ms) // 10]
    return usual_ms / (right_ms - left_ms) * axes_inches * _POINTS_PER_INCH
