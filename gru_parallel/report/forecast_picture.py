"""Some forecasts as a picture: what was known, what was forecast, and what came."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gru_parallel.data.forecast_panel import ForecastPanel
from gru_parallel.errors import counted
from gru_parallel.report.forecast_colours import CAME, FORECAST
from gru_parallel.report.timeline_axes import QUIET
from gru_parallel.report.timeline_picture import WIDTH_INCHES, empty_figure, save_figure

_TOP_INCHES, _ROW_INCHES = 0.6, 2.55
_SIDE_INCHES = 0.2
_LONGEST_NAME = 26
_SHADE = 0.25


def draw_forecasts(panels: Sequence[ForecastPanel], title: str, path: Path | str) -> None:
    """Draw forecasts into a PNG file; equal ones make equal files. Of none, draw nothing."""
    if panels:
        save_figure(forecasts_figure(panels, title), path)


def forecasts_figure(panels: Sequence[ForecastPanel], title: str) -> Figure:
    """Draw forecasts into a figure, two beside each other.

    Args:
        panels: one forecast each.
        title: the picture's first line, such as "Forecasts over the test part".

    Returns:
        A figure with a pair of axes for each panel, in their order, row by row.
    """
    n_columns = min(2, len(panels))
    n_rows = -(-len(panels) // n_columns)
    height = _TOP_INCHES + n_rows * _ROW_INCHES
    figure = empty_figure(height)
    # It makes as much room at the left as the widest labels of ticks take.
    below_heading = (0, 0, 1, 1 - _TOP_INCHES / height)
    engine = ConstrainedLayoutEngine(rect=below_heading, w_pad=0.1, h_pad=0.12)
    figure.set_layout_engine(engine)
    all_axes = figure.subplots(n_rows, n_columns, squeeze=False).flat
    for axes, panel in zip_longest(all_axes, panels):
        if panel is None:
            axes.remove()
        else:
            _draw_panel(axes, panel)
    _draw_heading(figure, title, panels)
    return figure


def _draw_panel(axes: Axes, panel: ForecastPanel) -> None:
    came_times = np.concatenate([panel.past_times, panel.times])
    axes.plot(came_times, np.concatenate([panel.past, panel.came]), color=CAME, linewidth=1.0)
    if not panel.ahead and len(panel.past):
        axes.axvline(panel.past_times[-1], color=QUIET, linewidth=0.8, linestyle=":")
    if panel.interval is not None:
        _draw_interval(axes, panel.times, *panel.interval)
    axes.plot(panel.times, panel.forecast, color=FORECAST, linewidth=1.4)
    if len(panel.times) == 1:
        axes.plot(panel.times, panel.forecast, "o", color=FORECAST, markersize=4)
    axes.set_title(_title(panel), fontsize=9, loc="left", color=CAME, parse_math=False)
    axes.margins(x=0.01)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _name_axis(axes, panel.target)
    if np.issubdtype(panel.times.dtype, np.datetime64):
        _date_axis(axes, came_times)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("row", fontsize=8, color=QUIET)
    axes.tick_params(labelsize=8, colors=QUIET)
    axes.xaxis.get_offset_text().set(size=8, color=QUIET)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)


def _draw_interval(
    axes: Axes, times: NDArray[Any], lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> None:
    axes.fill_between(times, lower, upper, color=FORECAST, alpha=_SHADE, linewidth=0)
    if len(times) == 1:
        axes.vlines(times, lower, upper, color=FORECAST, alpha=_SHADE, linewidth=6)


def _name_axis(axes: Axes, target: str) -> None:
    """Write beside the vertical axis what it shows, and what all of its labels leave out."""
    axis = axes.yaxis
    formatter = axis.get_major_formatter()
    formatter.set_locs(axis.get_majorticklocs().tolist())
    # Above the axes, where matplotlib writes it, it would lie over the title.
    axis.get_offset_text().set_visible(False)
    offset = formatter.get_offset()
    name = f"{_shortened(target)} ({offset})" if offset else _shortened(target)
    axes.set_ylabel(name, fontsize=8, color=QUIET, parse_math=False)


def _date_axis(axes: Axes, times: NDArray[Any]) -> None:
    """Label dates, and write below the axis what no label says, such as the year."""

    def is_one(unit: str) -> bool:
        return bool(times.min().astype(f"M8[{unit}]") == times.max().astype(f"M8[{unit}]"))

    # Where a new month or day begins, its label names it.
    month = "%Y-%b" if is_one("M") else "%Y"
    day = "%Y-%b-%d" if is_one("D") else "%Y"
    locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]  # matplotlib's
    formatter = ConciseDateFormatter(  # type: ignore[no-untyped-call]  # as above
        locator, offset_formats=["", "%Y", month, day, day, "%Y-%b-%d %H:%M"]
    )
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)


def _title(panel: ForecastPanel) -> str:
    """Say of which series a forecast is, and what was known when it was made."""
    whose = f"{_shortened(panel.series)}: " if panel.series else ""
    if panel.ahead:
        return f"{whose}each value {counted(panel.ahead, 'row')} ahead"
    if not len(panel.past_times):
        return whose
    cutoff = panel.past_times[-1]
    if np.issubdtype(panel.times.dtype, np.datetime64):
        text = str(np.datetime_as_string(cutoff, unit="auto"))
        return f"{whose}known until {text.replace('T', ' ')}"
    return f"{whose}known until row {cutoff}"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _draw_heading(figure: Figure, title: str, panels: Sequence[ForecastPanel]) -> None:
    height = figure.get_figheight()
    left, top = _SIDE_INCHES / WIDTH_INCHES, 1 - 0.27 / height
    figure.text(left, top, title, fontsize=11, fontweight="bold", parse_math=False)
    note = "in the units of the series; what is forecast stands beside its axis"
    figure.text(left, 1 - 0.46 / height, note, fontsize=8, color=QUIET)
    handles: list[Artist] = [
        Line2D([], [], color=CAME, linewidth=1.0, label="what came"),
        Line2D([], [], color=FORECAST, linewidth=1.4, label="forecast"),
    ]
    if panels[0].interval is not None:
        share = f"{100 * panels[0].share:.4g} % interval"
        handles.append(Patch(color=FORECAST, alpha=_SHADE, linewidth=0, label=share))
    if any(not panel.ahead for panel in panels):
        handles.append(Line2D([], [], color=QUIET, linestyle=":", label="last known value"))
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(1 - _SIDE_INCHES / WIDTH_INCHES, 1 - 0.02 / height),
        ncols=len(handles),
        fontsize=8,
        frameon=False,
    )
