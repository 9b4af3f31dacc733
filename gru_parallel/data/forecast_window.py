"""ForecastWindow: the rows that one forecast is made from, and what it is a forecast of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gru_parallel.data.calendar_features import calendar_features
from gru_parallel.data.centre import level_of
from gru_parallel.data.share import ALL_ROWS, Share
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import Batch


@dataclass(frozen=True)
class ForecastWindow:
    """The rows that one forecast is made from, and what it is a forecast of.

    Attributes:
        series: name of the series.
        values: the rows, in the units of the series, array of shape `(rows, columns)`.
        past_times: of these rows, array of shape `(rows,)`.
        times: that are forecast, array of shape `(steps,)`.
        known: what came then, array of shape `(steps, targets)`; NaN where that is not known.
        future: the columns that are known ahead, in all rows up to the last that is forecast, in
            the units of the series, array of shape `(horizon, columns)`.
        future_times: of these rows, array of shape `(horizon,)`.
        static: what describes the series, as numbers, array of shape `(n_static,)`.
        n_filled: number of values in the rows that are filled in.
    """

    series: str
    values: NDArray[np.float64]
    past_times: NDArray[Any]
    times: NDArray[Any]
    known: NDArray[np.float64]
    future: NDArray[np.float64]
    future_times: NDArray[Any]
    static: NDArray[np.float64]
    n_filled: int = 0

    @property
    def cutoff(self) -> Any:
        """Time of the last row that the forecast knows."""
        return self.past_times[-1]


class ForecastDataset(Dataset[Batch]):
    """Windows without targets, as batches of what a model takes: see `WindowDataset`."""

    def __init__(
        self,
        windows: Sequence[ForecastWindow],
        target_columns: Sequence[int],
        shape: WindowShape,
        standardizer: Standardizer,
        *,
        centre: str,
        calendar: Sequence[str] = (),
        batch_size: int,
        share: Share = ALL_ROWS,
    ) -> None:
        """Take the windows as they are.

        Args:
            windows: in the order in which they are forecast.
            target_columns: positions of the columns to forecast.
            shape: extent of a window.
            standardizer: of the model.
            centre: see `WindowDataset`.
            calendar: what goes in of the date of each row.
            batch_size: windows of a batch of all replicas.
            share: the rows of each batch that are fetched here.
        """
        self.share = share
        self._windows = windows
        self._target_columns = list(target_columns)
        self._shape = shape
        self._standardizer = standardizer
        # Of no windows, there is nothing to take.
        self._n_future = windows[0].future.shape[1] if windows else 0
        self._n_static = len(windows[0].static) if windows else 0
        self._centre = centre
        self._calendar = calendar
        self._rows = share.rows(batch_size)

    def __len__(self) -> int:
        """Number of windows, those of all shares."""
        return len(self._windows)

    def __getitem__(self, index: int) -> Batch:
        """One window, without a batch dimension, whatever its share."""
        return {name: tensor[0] for name, tensor in self._batch([self._windows[index]]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """The share of the batch of these windows, possibly of 0 rows."""
        return self._batch([self._windows[index] for index in indices[self._rows]])

    def _batch(self, windows: Sequence[ForecastWindow]) -> Batch:
        lengths = [len(window.values) for window in windows]
        longest = max(lengths, default=self._shape.input_length)
        n_channels = len(self._standardizer.mean) - self._n_future
        n_known = self._n_future + len(self._calendar)
        x = torch.zeros(len(windows), longest, n_channels + n_known, dtype=torch.float64)
        future = torch.zeros(len(windows), self._shape.horizon, n_known)
        for row, window in enumerate(windows):
            values = self._standardizer.transform(window.values)
            x[row, : len(values)] = self._with_calendar(values, window.past_times)
            if n_known:
                ahead = self._standardizer.transform_last(window.future)
                future[row] = self._with_calendar(ahead, window.future_times)
        n_rows = torch.tensor(lengths, dtype=torch.int64).unsqueeze(1)
        level = level_of(x[:, :, :n_channels], n_rows, self._centre)
        level.remove_from(x[:, :, :n_channels])
        is_padding = torch.arange(longest) >= n_rows
        x = x.masked_fill(is_padding.unsqueeze(2), 0.0).float()
        batch = {"x": x, **level.of_columns(self._target_columns)}
        if n_known:
            batch["future"] = future
        if self._n_static:
            static = np.array([window.static for window in windows]).reshape(-1, self._n_static)
            batch["static"] = torch.as_tensor(static, dtype=torch.float32)
        return {**batch, "lengths": n_rows.squeeze(1)} if self._shape.may_be_short else batch

    def _with_calendar(self, values: NDArray[np.float64], times: NDArray[Any]) -> Tensor:
        """Put what is known of the date of each row after its values."""
        if self._calendar:
            values = np.concatenate([values, calendar_features(times, self._calendar)], axis=1)
        return torch.from_numpy(values)
