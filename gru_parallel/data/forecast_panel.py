"""One forecast as a picture shows it: what came before, what was forecast, and what came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gru_parallel.data.forecasts import series_numbers, times_of
from gru_parallel.data.series_data import SeriesData

MOST_PANELS = 6
"""Of a picture, so that each can be read."""

_LEAST_PAST = 24


@dataclass(frozen=True)
class ForecastPanel:
    """One forecast of one target, in the units of the series.

    Times are dates, or numbers where the series has no dates.

    Attributes:
        series: name of the series; empty where there is only one.
        target: the column that is forecast.
        past_times: of the rows that were known, array of shape `(past rows,)`.
        past: values of these rows, of the same shape.
        times: that are forecast, array of shape `(steps,)`.
        came: values that came, of the same shape; NaN where that is not known.
        forecast: values that were forecast, of the same shape.
        ahead: rows from the last value that a forecast knew to the one forecast, where that is
            the same for all of them; 0 where all were made at once, after the last past row.
        interval: lower and upper bound of the widest interval that was forecast, arrays of the same
            shape as `forecast`; None for none.
        share: of the values that should be in it.
    """

    series: str
    target: str
    past_times: NDArray[Any]
    past: NDArray[np.float64]
    times: NDArray[Any]
    came: NDArray[np.float64]
    forecast: NDArray[np.float64]
    ahead: int = 0
    interval: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    share: float = 0.0


def n_past_rows(horizon: int) -> int:
    """Number of rows before a forecast that put it into context without making it too small."""
    return max(_LEAST_PAST, 3 * horizon)


def panels_of(
    data: SeriesData,
    predictions: Mapping[int, Tensor],
    n_most: int = MOST_PANELS,
    levels: tuple[float, ...] = (),
) -> list[ForecastPanel]:
    """Choose some forecasts of a test, over all of it and of several targets.

    Args:
        data: of the run.
        predictions: by test window, standardised and without the anchor, shape
            `(n_target_steps, n_targets)`; with quantiles see `stacked`.
        n_most: number of panels at most.
        levels: of the quantiles; () for none.
    """
    windows = sorted(predictions)
    return [
        _panel(data, windows[window], target, predictions, levels)
        for window, target in windows_to_draw(len(windows), data.n_targets, n_most)
    ]


def windows_to_draw(
    n_windows: int, n_targets: int, n_most: int = MOST_PANELS
) -> list[tuple[int, int]]:
    """Choose some windows, from the first to the last one, and a target of each in turn."""
    n_panels = min(n_most, n_windows * n_targets)
    step = (n_windows - 1) / max(1, n_panels - 1)
    return [(round(at * step), at % n_targets) for at in range(n_panels)]


def interval_of(
    numbers: NDArray[np.float64], levels: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the bounds of the widest interval of a forecast, if it has any.

    Args:
        numbers: the point forecast and the quantiles, shape `(1 + levels, steps)`.
        levels: of the quantiles.
    """
    return (numbers[1], numbers[-1]) if len(levels) > 1 else None


def share_of(levels: tuple[float, ...]) -> float:
    """Return the share of values that should be in the widest interval."""
    return levels[-1] - levels[0] if levels else 0.0


def _panel(
    data: SeriesData,
    window: int,
    target: int,
    predictions: Mapping[int, Tensor],
    levels: tuple[float, ...],
) -> ForecastPanel:
    dataset, horizon = data.dataset("test"), data.shape.horizon
    is_every_step = data.shape.task == "every_step"
    rows = dataset.rows_of([window])
    shown, start = rows.targets[0], int(rows.series_starts)
    if is_every_step:
        shown = shown[: int(rows.lengths)]
    first = int(shown[0])
    past = torch.arange(max(start, first - n_past_rows(horizon)), first)
    predicted = predictions[window][: len(shown)]
    numbers = predicted.movedim(-1, 0) if levels else predicted.unsqueeze(0)
    in_units = data.inverse(numbers + dataset[window]["anchor"])[..., target].numpy()
    table = data.tables[series_numbers(data.tables, np.array([start]))[0]]
    return ForecastPanel(
        series=table.name,
        target=table.targets[target],
        past_times=times_of(data.tables, past.numpy()),
        past=data.targets_at(past)[:, target],
        times=times_of(data.tables, shown.numpy()),
        came=data.targets_at(shown)[:, target],
        forecast=in_units[0],
        ahead=horizon if is_every_step else 0,
        interval=interval_of(in_units, levels),
        share=share_of(levels),
    )
