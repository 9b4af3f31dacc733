"""Some forecasts as a picture: what was known, what was forecast, and what came."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gru_parallel.data.forecast_panel import ForecastPanel
from gru_parallel.errors import counted
from gru_parallel.report.forecast_colours import CAME, FORECAST
from gru_parallel.report.timeline_axes import QUIET
from gru_parallel.report.timeline_picture import WIDTH_INCHES, empty_figure, save_figure

_TOP_INCHES, _BOTTOM_INCHES = 0.9, 0.45
_PANEL_INCHES, _BETWEEN_INCHES = 1.75, 0.85
_LEFT_INCHES, _RIGHT_INCHES, _COLUMN_GAP_INCHES = 0.75, 0.2, 0.85
_LONGEST_NAME = 26


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
    panels_inches = n_rows * _PANEL_INCHES + (n_rows - 1) * _BETWEEN_INCHES
    figure = empty_figure(_TOP_INCHES + panels_inches + _BOTTOM_INCHES)
    height = figure.get_figheight()
    gaps = _LEFT_INCHES + _RIGHT_INCHES + (n_columns - 1) * _COLUMN_GAP_INCHES
    panel_width = (WIDTH_INCHES - gaps) / n_columns
    for number, panel in enumerate(panels):
        row, column = divmod(number, n_columns)
        left = _LEFT_INCHES + column * (panel_width + _COLUMN_GAP_INCHES)
        top = _TOP_INCHES + row * (_PANEL_INCHES + _BETWEEN_INCHES)
        bottom = height - top - _PANEL_INCHES
        axes = figure.add_axes(
            (
                left / WIDTH_INCHES,
                bottom / height,
                panel_width / WIDTH_INCHES,
                _PANEL_INCHES / height,
            )
        )
        _draw_panel(axes, panel)
    _draw_heading(figure, title, panels)
    return figure


def _draw_panel(axes: Axes, panel: ForecastPanel) -> None:
    is_date = np.issubdtype(panel.times.dtype, np.datetime64)
    came_times = np.concatenate([panel.past_times, panel.times])
    axes.plot(came_times, np.concatenate([panel.past, panel.came]), color=CAME, linewidth=1.0)
    times, forecast = panel.times, panel.forecast
    if not panel.ahead and len(panel.past):
        # From the last known value on, so that the eye finds where a forecast begins.
        times = np.concatenate([panel.past_times[-1:], times])
        forecast = np.concatenate([panel.past[-1:], forecast])
        axes.axvline(panel.past_times[-1], color=QUIET, linewidth=0.8, linestyle=":")
    axes.plot(times, forecast, color=FORECAST, linewidth=1.4)
    if len(panel.times) == 1:
        axes.plot(panel.times, panel.forecast, "o", color=FORECAST, markersize=4)
    axes.set_title(_title(panel), fontsize=9, loc="left", color=CAME, parse_math=False)
    axes.set_ylabel(_shortened(panel.target), fontsize=8, color=QUIET, parse_math=False)
    axes.margins(x=0.01)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if is_date:
        locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]  # matplotlib's
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]  # as above
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("row", fontsize=8, color=QUIET)
    axes.tick_params(labelsize=8, colors=QUIET)
    axes.xaxis.get_offset_text().set(size=8, color=QUIET)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)


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
    left, top = _LEFT_INCHES / WIDTH_INCHES, 1 - 0.27 / height
    figure.text(left, top, title, fontsize=11, fontweight="bold", parse_math=False)
    note = "in the units of the series; what is forecast stands beside its axis"
    figure.text(left, 1 - 0.46 / height, note, fontsize=8, color=QUIET)
    handles = [
        Line2D([], [], color=CAME, linewidth=1.0, label="what came"),
        Line2D([], [], color=FORECAST, linewidth=1.4, label="forecast"),
    ]
    if any(not panel.ahead for panel in panels):
        handles.append(Line2D([], [], color=QUIET, linestyle=":", label="last known value"))
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(1 - _RIGHT_INCHES / WIDTH_INCHES, 1 - 0.02 / height),
        ncols=len(handles),
        fontsize=8,
        frameon=False,
    )
