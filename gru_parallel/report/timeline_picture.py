"""A timeline, simulated or measured, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gru_parallel.report.stage_names import stage_names
from gru_parallel.report.timeline_axes import QUIET, draw_legend, draw_timeline, row_inches
from gru_parallel.report.units import format_ms, format_percent
from gru_parallel.schedule import Timeline
from gru_parallel.whole_file import whole_file

DOTS_PER_INCH = 150
WIDTH_INCHES = 10.0
TOP_INCHES = 0.72
BOTTOM_INCHES = 0.5
_RIGHT_INCHES = 0.2


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a PNG file; equal timelines make equal files."""
    # The file would name matplotlib's version, and so depend on it.
    with whole_file(path) as part:
        figure.savefig(part, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


def timeline_figure(
    timeline: Timeline,
    title: str,
    device_names: Sequence[str],
    until_ms: float | None = None,
) -> Figure:
    """Draw a timeline into a figure.

    Args:
        timeline: what ran when. Sends and receives are not drawn: a stage waits meanwhile.
        title: the picture's first line.
        device_names: the device of each stage.
        until_ms: where the time axis ends, in ms, so that pictures can share a scale; the end of
            the step if None.

    Returns:
        A figure of one pair of axes, stage 0 at the top, time in ms from the first start.

    Raises:
        ValueError: there is not one device name for each stage.
    """
    names = stage_names(timeline.n_stages, device_names)
    rows_inches = len(names) * row_inches(len(names))
    figure = empty_figure(TOP_INCHES + rows_inches + BOTTOM_INCHES)
    axes = add_axes(figure, names, TOP_INCHES, rows_inches)
    # A timeline may have no events, and matplotlib warns of axes of no width.
    has_labels = draw_timeline(axes, timeline, names, until_ms or timeline.step_ms or 1.0)
    draw_heading(axes, title, numbers_of(timeline))
    draw_legend(axes, [timeline])
    if has_labels:
        explain_labels(figure)
    return figure


def empty_figure(height_inches: float) -> Figure:
    """Make a figure that can be drawn into, as wide as all pictures."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches))
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, names: Sequence[str], top_inches: float, height_inches: float) -> Axes:
    """Add axes over the width that names at their left leave.

    Args:
        figure: into which.
        names: of stages, whichever axes they belong to.
        top_inches: from the top of the figure to the axes.
        height_inches: of the axes.
    """
    whole = figure.get_figheight()
    left = 0.25 + 0.075 * max(map(len, names), default=0)
    width = WIDTH_INCHES - left - _RIGHT_INCHES
    bottom = 1 - (top_inches + height_inches) / whole
    return figure.add_axes(
        (left / WIDTH_INCHES, bottom, width / WIDTH_INCHES, height_inches / whole)
    )


def draw_heading(axes: Axes, title: str, numbers: str, note: str = "") -> None:
    """Write above axes: a title, below it numbers, and a note in small letters at the right."""
    figure, bounds = axes.figure, axes.get_position()
    assert isinstance(figure, Figure)
    height = figure.get_figheight()
    title_y, numbers_y = bounds.y1 + 0.42 / height, bounds.y1 + 0.17 / height
    # A dollar sign in title or note does not begin a formula.
    figure.text(bounds.x0, title_y, title, fontsize=11, fontweight="bold", parse_math=False)
    if note:
        at = (bounds.x1, title_y)
        figure.text(*at, note, ha="right", fontsize=8, color=QUIET, parse_math=False)
    figure.text(bounds.x0, numbers_y, numbers, fontsize=9, color=QUIET)


def numbers_of(timeline: Timeline) -> str:
    """Say how long a step took, and what share of that was idle."""
    return f"step {format_ms(timeline.step_ms)}, bubble {format_percent(timeline.bubble)}"


def explain_labels(figure: Figure) -> None:
    """Say at the bottom what stands in the cells."""
    right = 1 - _RIGHT_INCHES / WIDTH_INCHES
    note, bottom = "in the cells: micro-batch.chunk", 0.15 / figure.get_figheight()
    figure.text(right, bottom, note, ha="right", fontsize=8, color=QUIET)
