"""From predictions of test windows to forecasts in the units of the series, with their times."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gru_parallel.data.forecast import Forecast
from gru_parallel.data.series_data import SeriesData
from gru_parallel.data.table import Table
from gru_parallel.data.windows import Batch

_MOST_VALUES = 4000


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


def forecasts_of(data: SeriesData, predictions: Mapping[int, Tensor]) -> list[Forecast]:
    """Bring predictions back to the units of the series, and say what they are of.

    With the task "every_step", the forecast of a window is that of its last step.

    Args:
        data: of the run.
        predictions: by test window, standardised and without the anchor, shape
            `(n_target_steps, n_targets)`; of a short window possibly padded to that length.

    Returns:
        A forecast for each window, step and target, in this order.
    """
    if not predictions:
        return []
    dataset, windows = data.dataset("test"), sorted(predictions)
    rows = dataset.rows_of(windows)
    shown, predicted = rows.targets, [predictions[window] for window in windows]
    if data.shape.task == "every_step":
        last = (rows.lengths - 1).squeeze(1).tolist()
        shown = shown.gather(1, rows.lengths - 1)
        predicted = [
            of_window[step : step + 1] for of_window, step in zip(predicted, last, strict=True)
        ]
    anchor = dataset.__getitems__(windows)["anchor"]
    came = data.inverse(dataset.target_values[shown]).tolist()
    forecast = data.inverse(torch.stack(predicted) + anchor).tolist()
    moments = _moments(data.tables, torch.cat([shown, rows.ends - 1], dim=1).numpy())
    series = _series_of(data.tables, rows.series_starts.squeeze(1).numpy())
    return [
        Forecast(series[w], moments[w][step], moments[w][-1], target, *values)
        for w in range(len(windows))
        for step in range(shown.shape[1])
        for target, *values in zip(
            data.tables[0].targets, came[w][step], forecast[w][step], strict=True
        )
    ]


def _moments(tables: Sequence[Table], rows: NDArray[np.int64]) -> list[list[str]]:
    """Write the times of rows, or if there are none, their numbers within their series."""
    of_tables: list[NDArray[Any]] = [
        np.arange(table.n_rows) if table.times is None else table.times for table in tables
    ]
    times = np.concatenate(of_tables)[rows]
    is_date = np.issubdtype(times.dtype, np.datetime64)
    text = np.datetime_as_string(times, unit="auto") if is_date else times.astype(str)
    written: list[list[str]] = text.tolist()
    return written


def _series_of(tables: Sequence[Table], rows: NDArray[np.int64]) -> list[str]:
    """Name the series that rows belong to."""
    starts = np.cumsum([table.n_rows for table in tables])
    return [tables[number].name for number in np.searchsorted(starts, rows, side="right")]
