"""Draws a timeline into axes: one row per stage, the bubble in grey.

Uses matplotlib's objects and never pyplot, which keeps state for the whole process and is not
made for threads.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gru_parallel.report.label_fit import fit_labels
from gru_parallel.report.timeline_colours import COLOURS, IDLE_COLOUR, IDLE_MEANING, MEANING
from gru_parallel.schedule import Event, Op, Timeline

_TEXT_ON = {Op.F: "white", Op.B: "black", Op.W: "white"}
QUIET = "#555555"

POINTS_PER_INCH = 72
BAR_HEIGHT = 0.78  # of a row
_ROW_INCHES, _ROWS_INCHES, _LEAST_ROW_INCHES = 0.42, 8.4, 0.14
_NAME_POINTS = 9.0
_DENSE = 1.5  # points: cells thinner than this run into one another


def row_inches(n_stages: int) -> float:
    """Return the height of a stage's row, which is less where there are more than 20 stages."""
    return max(_LEAST_ROW_INCHES, min(_ROW_INCHES, _ROWS_INCHES / max(1, n_stages)))


def name_points(n_stages: int) -> float:
    """Return the size of the font that stages' names are written in."""
    return min(_NAME_POINTS, 0.9 * POINTS_PER_INCH * row_inches(n_stages))


def draw_timeline(axes: Axes, timeline: Timeline, names: Sequence[str], until_ms: float) -> bool:
    """Draw what ran when, time in ms from the first start.

    Args:
        axes: where; they have their place in their figure.
        timeline: what ran when. Sends and receives are not drawn: a stage waits meanwhile.
        names: of the stages.
        until_ms: where the time axis ends, in ms.

    Returns:
        Whether there was room to write micro-batch and chunk into cells.
    """
    axes.set_xlim(0, until_ms)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names, fontsize=name_points(len(names)))
    axes.tick_params(axis="y", length=0)
    style_time(axes)
    axes.spines["left"].set_visible(False)
    events = _by_stage_and_op(timeline)
    _draw_bars(axes, timeline, events)
    return _draw_labels(axes, timeline, events)


def style_time(axes: Axes) -> None:
    """Give axes a quiet time axis, and no frame above and at the right."""
    axes.tick_params(labelsize=8, colors=QUIET, axis="x")
    axes.set_xlabel("time (ms)", fontsize=8, color=QUIET)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)


def draw_legend(axes: Axes, timelines: Sequence[Timeline]) -> None:
    """Say above the axes, at the right, what the colours of these timelines mean."""
    ops = {event.action.op for timeline in timelines for event in timeline.events}
    handles = [Patch(color=COLOURS[op], label=MEANING[op]) for op in COLOURS if op in ops]
    handles.append(Patch(color=IDLE_COLOUR, label=IDLE_MEANING))
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


_Events = dict[tuple[int, Op], list[Event]]


def _by_stage_and_op(timeline: Timeline) -> _Events:
    events: _Events = {(stage, op): [] for stage in range(timeline.n_stages) for op in COLOURS}
    for event in timeline.events:
        if event.action.op.is_compute:
            events[event.action.stage, event.action.op].append(event)
    return events


def _draw_bars(axes: Axes, timeline: Timeline, events: _Events) -> None:
    """One collection of bars per stage and op, so that thousands of cells are quick to draw."""
    usual_width = _usual_width_points(axes, [event for some in events.values() for event in some])
    is_dense = usual_width < _DENSE
    # The gap between cells: narrower where cells are, so that it does not hide them.
    gap = 0.0 if is_dense else min(0.8, 0.12 * usual_width)
    start_ms = _start_ms(timeline)
    for stage in range(timeline.n_stages):
        row = (stage - BAR_HEIGHT / 2, BAR_HEIGHT)
        axes.broken_barh([(0, timeline.step_ms)], row, facecolor=IDLE_COLOUR, zorder=1)
        for op, colour in COLOURS.items():
            spans = [(event.start_ms - start_ms, event.duration_ms) for event in events[stage, op]]
            if spans:
                axes.broken_barh(
                    sorted(spans),
                    row,
                    facecolor=colour,
                    edgecolor="white",
                    linewidth=gap,
                    # Cells thinner than a dot look even only if none is blurred or moved.
                    antialiased=not is_dense,
                    snap=False if is_dense else None,
                    zorder=2,
                )


def _draw_labels(axes: Axes, timeline: Timeline, events: _Events) -> bool:
    """Write micro-batch.chunk into each cell that has room; return whether any has."""
    start_ms = _start_ms(timeline)
    bar_points = BAR_HEIGHT * row_inches(timeline.n_stages) * POINTS_PER_INCH
    has_labels = False
    for op in COLOURS:
        of_op = [event for stage in range(timeline.n_stages) for event in events[stage, op]]
        fits = [
            (event, fit)
            for event in of_op
            if (fit := fit_labels([_label(event)], _points(axes, event.duration_ms), bar_points))
        ]
        has_labels = has_labels or bool(fits)
        # The same in all cells of an op: another size would seem to mean something.
        size_points = min((fit.size_points for _, fit in fits), default=0.0)
        for event, fit in fits:
            axes.text(
                (event.start_ms + event.end_ms) / 2 - start_ms,
                event.action.stage,
                _label(event),
                fontsize=size_points,
                rotation=fit.turn_degrees,
                color=_TEXT_ON[op],
                ha="center",
                va="center_baseline" if fit.turn_degrees == 0 else "center",
                clip_on=True,
                zorder=3,
            )
    return has_labels


def _start_ms(timeline: Timeline) -> float:
    return min((event.start_ms for event in timeline.events), default=0.0)


def _label(event: Event) -> str:
    return f"{event.action.micro_batch}.{event.action.chunk}"


def _usual_width_points(axes: Axes, events: Sequence[Event]) -> float:
    """The width that nine in ten cells have at least: a few thin ones do not count."""
    durations_ms = sorted(event.duration_ms for event in events) or [0.0]
    return _points(axes, durations_ms[len(durations_ms) // 10])


def _points(axes: Axes, duration_ms: float) -> float:
    """The width of a time."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    left_ms, right_ms = axes.get_xlim()
    axes_inches = axes.get_position().width * figure.get_size_inches()[0]
    return float(duration_ms / (right_ms - left_ms) * axes_inches * POINTS_PER_INCH)
