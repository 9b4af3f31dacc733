"""From predictions of test windows to forecasts in the units of the series, with their times."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gru_parallel.data.baselines import naive_rows
from gru_parallel.data.forecast import Forecast
from gru_parallel.data.series_data import SeriesData
from gru_parallel.data.table import Table
from gru_parallel.data.windows import Batch, WindowRows

_MOST_VALUES = 4000
_MOST_WHOLE = 2.0**63
"""Beyond every integer of 64 bits."""


@dataclass(frozen=True)
class PredictedWindows:
    """Predictions of some test windows, standardised and without the anchor.

    Attributes:
        rows: of the windows.
        whole: shape `(windows, steps, targets)`, with quantiles `(windows, steps, targets, 1 +
            levels)`.
        batch: `y`, of the shape of the point forecasts, `anchor` and `naive_error`, as loaders give
            them.
    """

    rows: WindowRows
    whole: Tensor
    batch: Batch


@dataclass(frozen=True)
class ForecastArrays:
    """Forecasts of some windows beside what came, in the units of the series.

    Rows are counted through all series.

    Attributes:
        rows: that are forecast, array of shape `(windows, steps)`.
        cutoffs: the last row that was known, array of shape `(windows,)`.
        series: number of each window's series, array of shape `(windows,)`.
        came: array of shape `(windows, steps, targets)`.
        forecast: array of the same shape.
        levels: of the quantiles; () for none.
        quantiles: array of shape `(windows, steps, targets, levels)`.
    """

    rows: NDArray[np.int64]
    cutoffs: NDArray[np.int64]
    series: NDArray[np.intp]
    came: NDArray[np.float64]
    forecast: NDArray[np.float64]
    levels: tuple[float, ...]
    quantiles: NDArray[np.float64]


def windows_to_show(data: SeriesData, tested: Tensor) -> Tensor:
    """Choose test windows whose forecasts together show the test part, in some thousand values.

    Each moment is forecast once; where that would be too many values, windows are spread evenly.

    Args:
        data: of the run.
        tested: indices of the windows that are tested, shape `(windows,)`.
    """
    n_steps = data.shape.horizon if data.shape.task == "window" else 1
    one_after_the_other = tested.sort().values[::n_steps]
    n_wanted = max(1, _MOST_VALUES // (n_steps * data.n_targets))
    return one_after_the_other[:: max(1, -(-len(one_after_the_other) // n_wanted))]


def windows_of_batch(data: SeriesData, batch: Batch, number: int) -> Tensor:
    """Return the windows of a batch of the test, those of this share, shape `(rows,)`.

    Args:
        data: of the run.
        batch: as the loader gave it.
        number: of the batch, from 0.
    """
    if "index" in batch:
        return batch["index"]
    whole = torch.arange(len(data.dataset("test")))[number * data.batch_size :][: data.batch_size]
    return whole[data.share.rows(data.batch_size)]


def stacked(data: SeriesData, predictions: Mapping[int, Tensor]) -> PredictedWindows:
    """Put the predictions of windows into one tensor, beside what is known of these windows.

    With the task "every_step", the forecast of a window is that of its last step.

    Args:
        data: of the run.
        predictions: by test window, at least one, standardised and without the anchor, shape
            `(n_target_steps, n_targets)`, or with quantiles `(n_target_steps, n_targets, 1 +
            levels)`; of a short window possibly padded to that length.

    Returns:
        The predictions, by window.
    """
    dataset, windows = data.dataset("test"), sorted(predictions)
    rows = dataset.rows_of(windows)
    predicted = [predictions[window] for window in windows]
    batch = dataset.__getitems__(windows)
    batch = {name: batch[name] for name in ("y", "anchor", "naive_error")}
    if data.shape.task == "every_step":
        last = (rows.lengths - 1).squeeze(1)
        predicted = [
            of_window[step : step + 1]
            for of_window, step in zip(predicted, last.tolist(), strict=True)
        ]
        batch["y"] = batch["y"][torch.arange(len(windows)), last].unsqueeze(1)
    return PredictedWindows(rows, torch.stack(predicted), batch)


def forecast_arrays(
    data: SeriesData, predicted: PredictedWindows, levels: tuple[float, ...] = ()
) -> ForecastArrays:
    """Bring predictions back to the units of the series, and say what they are of.

    Args:
        data: of the run.
        predicted: see `stacked`.
        levels: of the quantiles; () for none.

    Returns:
        The forecasts, by window.
    """
    rows, whole = predicted.rows, predicted.whole
    shown = _shown(rows, rows.targets, data.shape.task)
    numbers = whole.movedim(-1, 0) if levels else whole.unsqueeze(0)
    in_units = data.inverse(numbers + predicted.batch["anchor"]).numpy()
    return ForecastArrays(
        shown.numpy(),
        (rows.ends - 1).squeeze(1).numpy(),
        series_numbers(data.tables, rows.series_starts.squeeze(1).numpy()),
        data.targets_at(shown),
        in_units[0],
        levels,
        np.moveaxis(in_units[1:], 0, -1),
    )


def naive_sources(data: SeriesData, rows: WindowRows, period: int) -> Tensor:
    """Return the rows whose values are what a baseline forecasts for test windows.

    Args:
        data: of the run.
        rows: of the windows.
        period: rows of a season; 1 repeats the last value.

    Returns:
        Tensor of shape `(windows, steps)`, as `ForecastArrays.rows` is.
    """
    return _shown(rows, naive_rows(data.dataset("test"), rows, period), data.shape.task)


def forecasts_of(
    data: SeriesData,
    predictions: Mapping[int, Tensor],
    label: str,
    levels: tuple[float, ...] = (),
) -> list[Forecast]:
    """List the forecasts of windows: one for each window, step and target, in this order.

    Args:
        data: of the run.
        predictions: see `stacked`; possibly none.
        label: names the series where there is only one.
        levels: of the quantiles; () for none.
    """
    if not predictions:
        return []
    arrays = forecast_arrays(data, stacked(data, predictions), levels)
    return list(in_long_form(data, arrays, label))


def in_long_form(data: SeriesData, arrays: ForecastArrays, label: str) -> Iterator[Forecast]:
    """Yield a forecast for each window, step and target, in this order.

    Args:
        data: of the run.
        arrays: the forecasts.
        label: names the series where there is only one.
    """
    moments, cutoffs = written(
        times_of(data.tables, arrays.rows), times_of(data.tables, arrays.cutoffs)
    )
    targets = data.tables[0].targets if data.n_targets > 1 else ("",)
    forecast, came, quantiles = (
        values.tolist() for values in (arrays.forecast, arrays.came, arrays.quantiles)
    )
    for window, number in enumerate(arrays.series):
        series = data.tables[number].name or label
        for step, moment in enumerate(moments[window]):
            of_targets = (of_all[window][step] for of_all in (forecast, came, quantiles))
            for target, y_hat, y, levels in zip(targets, *of_targets, strict=True):
                pairs = tuple(zip(arrays.levels, levels, strict=True))
                yield Forecast(series, moment, cutoffs[window], target, y_hat, y, pairs)


def times_of(tables: Sequence[Table], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return the times of rows, or if there are none, their numbers within their series.

    Args:
        tables: the series.
        rows: counted through all series; of any shape, which the times have, too.
    """
    of_tables: list[NDArray[Any]] = [
        np.arange(table.n_rows) if table.times is None else table.times for table in tables
    ]
    return np.concatenate(of_tables)[rows]


def series_numbers(tables: Sequence[Table], rows: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the number of the series that each row belongs to."""
    return np.searchsorted(np.cumsum([table.n_rows for table in tables]), rows, side="right")


def _shown(rows: WindowRows, wanted: Tensor, task: str) -> Tensor:
    """Choose, of rows beside the targets of some windows, those whose forecasts are shown."""
    return wanted if task == "window" else wanted.gather(1, rows.lengths - 1)


def as_whole_numbers(*of_all: NDArray[Any]) -> list[NDArray[Any]]:
    """Make integers of times that are whole numbers, if all are; else leave them as they are."""
    are_whole = all(
        np.issubdtype(times.dtype, np.floating)
        and (np.floor(times) == times).all()
        and (np.abs(times) < _MOST_WHOLE).all()
        for times in of_all
    )
    return [times.astype(np.int64) if are_whole else times for times in of_all]


def written(*of_all: NDArray[Any]) -> list[Any]:
    """Write times, or numbers of rows, as text: each array as a list, or as lists of lists.

    All of them are written in one way: as days if each is one, else with seconds; numbers without
    a point if all are whole.
    """
    if not np.issubdtype(of_all[0].dtype, np.datetime64):
        return [times.astype(str).tolist() for times in as_whole_numbers(*of_all)]

    def are(unit: str) -> bool:
        return all((times == times.astype(f"datetime64[{unit}]")).all() for times in of_all)

    unit: Literal["D", "s", "us"] = "D" if are("D") else "s" if are("s") else "us"
    texts = (np.datetime_as_string(times, unit=unit) for times in of_all)
    return [np.char.replace(text, "T", " ").tolist() for text in texts]
