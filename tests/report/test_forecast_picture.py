"""Forecasts as a picture: whose they are, what was known, and what is drawn where."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gru_parallel.data.forecast_panel import ForecastPanel, panels_of
from gru_parallel.report.forecast_picture import draw_forecasts, forecasts_figure
from tests.data.test_forecasts import data_of, perfect, table

START = np.datetime64("2026-01-31T22", "h")


def panel(
    times: NDArray[Any], n_past: int = 30, scale: float = 1.0, **options: Any
) -> ForecastPanel:
    values = scale * np.sin(np.arange(float(len(times))))
    came, forecast = values[n_past:], values[n_past:] + scale / 2
    return ForecastPanel(
        **{"series": "", "target": "OT"} | options,
        past_times=times[:n_past],
        past=values[:n_past],
        times=times[n_past:],
        came=came,
        forecast=forecast,
    )


def test_a_panel_shows_what_came_and_a_forecast_that_begins_after_the_last_known_value() -> None:
    (axes,) = forecasts_figure([panel(START + np.arange(40))], "Forecasts").axes

    came, cutoff, forecast = axes.get_lines()
    assert (len(came.get_xdata()), len(forecast.get_xdata())) == (40, 10)
    assert cutoff.get_xdata()[0] == came.get_xdata()[29]
    assert forecast.get_xdata()[0] == came.get_xdata()[30]
    assert axes.get_title(loc="left") == "known until 2026-02-02 03:00"
    assert axes.get_ylabel() == "OT"


def test_a_forecast_that_is_always_so_many_rows_ahead_has_no_cutoff() -> None:
    (axes,) = forecasts_figure([panel(np.arange(40), ahead=3)], "Forecasts").axes

    _, forecast = axes.get_lines()
    assert len(forecast.get_xdata()) == 10
    assert axes.get_title(loc="left") == "each value 3 rows ahead"
    assert axes.get_xlabel() == "row"


@pytest.mark.parametrize(("n_panels", "scale"), [(1, -120_000), (2, 1e11), (5, 1), (6, -120_000)])
def test_nothing_that_is_written_lies_over_anything_else(n_panels: int, scale: float) -> None:
    long = {"series": "a name of a series that is long", "target": "a target with a long name, too"}
    times = START + np.arange(40) * 1000
    panels = [panel(times, scale=scale, **long), panel(times, **long)] * 3
    figure = forecasts_figure(panels[:n_panels], "Forecasts over the test part")
    figure.canvas.draw()
    for left, right in zip(figure.axes[::2], figure.axes[1::2], strict=False):
        heights = {
            axes._left_title.get_window_extent().y0 for axes in (left, right)
        }  # there is no public way to a title
        assert len(heights) == 1

    written = [*figure.texts, *figure.legends]
    for axes in figure.axes:
        written += [
            axes._left_title,
            axes.yaxis.get_label(),
            axes.xaxis.get_offset_text(),
        ]  # there is no public way to a title
        # matplotlib keeps labels of ticks outside of the axes, and does not draw them.
        for axis, (first, last) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            written += [t.label1 for t in axis.get_major_ticks() if first <= t.get_loc() <= last]
    boxes = [axes.get_window_extent() for axes in figure.axes]
    boxes += [each.get_window_extent() for each in written]
    boxes = [box for box in boxes if box.width > 0 and box.height > 0]
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:number])


@pytest.mark.parametrize(
    ("n_rows", "offset"), [(40, "2026"), (10, "2026-Feb-01"), (24 * 300, "2026")]
)
def test_below_the_dates_stands_what_none_of_them_says(n_rows: int, offset: str) -> None:
    times = START + 2 + np.arange(n_rows)
    figure = forecasts_figure([panel(times, n_past=n_rows - 5)], "Forecasts")
    figure.canvas.draw()

    assert figure.axes[0].xaxis.get_offset_text().get_text() == offset


def test_panels_are_spread_over_the_test_part_and_the_targets(tmp_path: Path) -> None:
    data = data_of(table(times=True))
    panels = panels_of(data, perfect(data, [0, 1, 2, 6, 9, 15]))

    assert len(panels) == 6
    first, last = panels[0], panels[-1]
    # The test part begins with row 80; there are no more than 24 rows before a forecast.
    assert first.past == pytest.approx(1000 + np.arange(56.0, 80.0), abs=1e-3)
    assert first.came == pytest.approx([1080, 1081, 1082], abs=1e-3)
    assert first.forecast == pytest.approx(first.came, abs=1e-3)
    assert last.times[0] == START + 95
    draw_forecasts(panels, "Forecasts", tmp_path / "forecast.png")
    assert (tmp_path / "forecast.png").is_file()


def test_at_every_step_a_panel_shows_a_window() -> None:
    data = data_of(table(100, "x"), table(60, "y"), task="every_step", centre="none")
    (shown,) = panels_of(data, perfect(data, [0]))

    # The window's inputs are rows 75 to 80, and each is forecast 3 rows ahead.
    assert (shown.series, shown.ahead) == ("x", 3)
    assert shown.times.tolist() == [*range(80, 86)]
    assert shown.forecast == pytest.approx(1000 + np.arange(80.0, 86.0), abs=1e-3)
    assert shown.past_times[-1] == 79


@pytest.mark.parametrize("n_steps", [1, 10])
def test_the_widest_interval_is_shaded_and_the_legend_says_its_share(n_steps: int) -> None:
    bounds = np.full(n_steps, -2.0), np.full(n_steps, 3.0)
    shown = panel(np.arange(30 + n_steps), interval=bounds, share=0.8)
    figure = forecasts_figure([shown], "Forecasts")
    (axes,) = figure.axes

    shade, *bars = axes.collections
    assert len(bars) == (n_steps == 1)
    heights = [path.vertices[:, 1] for path in shade.get_paths()]
    assert {height for each in heights for height in each} == {-2.0, 3.0}
    assert "80 % interval" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_panels_have_the_bounds_in_the_units_of_the_series() -> None:
    data = data_of(table(times=True))
    point = perfect(data, [0])[0]
    spread = torch.tensor([0.0, -1.0, 0.0, 2.0]) / float(data.standardizer.scale[1])
    predictions = {0: point.unsqueeze(-1) + spread}

    (shown,) = panels_of(data, predictions, 1, (0.1, 0.5, 0.95))

    assert shown.interval is not None
    lower, upper = shown.interval
    assert shown.forecast == pytest.approx([1080, 1081, 1082], abs=1e-3)
    assert lower == pytest.approx(shown.forecast - 1, abs=1e-3)
    assert upper == pytest.approx(shown.forecast + 2, abs=1e-3)
    assert shown.share == pytest.approx(0.85)
