"""Series as batches: standardised, split, cut into windows. Knows nothing of Lightning."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from gru_parallel.data.baselines import Score, repeat_last, seasonal_naive
from gru_parallel.data.gaps import fill_gaps
from gru_parallel.data.loader import EpochSampler, ResumableLoader, leave_signals_to_trainer
from gru_parallel.data.parts import check_alike, split_tables
from gru_parallel.data.record import DataRecord, PartRecord
from gru_parallel.data.share import ALL_ROWS, Share, SharedWindows
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.streams import StreamBatches, check_level, check_stride
from gru_parallel.data.table import Table
from gru_parallel.data.window_shape import WindowShape, check_centre
from gru_parallel.data.windows import Batch, WindowDataset, window_ends
from gru_parallel.errors import UsageError, check_positive

ORDERS = ("shuffled", "streams")

_N_EVALUATION_ROWS = 8
"""In evaluation, streams are cut to fill only so many rows: whole ones carry states furthest."""


class SeriesData:
    """The data of a forecasting run, of one series or of several.

    A batch is a dict of float32 tensors: `x`, shape `(batch, input_length, n_channels)`; `y`, shape
    `(batch, n_target_steps, n_targets)`; and `anchor`, shape `(batch, 1, n_targets)`, to be
    added to `y` or a forecast for standardised values. Training windows are shuffled, all others
    are in the order of time; a smaller last batch is kept.

    If windows may be shorter than `input_length`, a batch also has `lengths`, int64 and of shape
    `(batch,)`: the number of real rows of each window. `x`, and with the task "every_step" `y`, are
    then as long as the longest window of the batch; after a window's end they are zero.

    With the order "streams", a batch also has `reset`, bool, and `index`, int64, both of shape
    `(batch,)`: which rows do not continue the batch before, and the index of each window in
    `dataset`, see `StreamBatches`. In training, streams are cut if there are fewer than
    `batch_size`; in evaluation only if there are fewer than 8.

    With a `share`, this describes the batches of all replicas together; a loader returns the rows
    of its share, possibly none, as long as the longest window among them.
    """

    def __init__(
        self,
        tables: Table | Sequence[Table],
        *,
        input_length: int,
        horizon: int,
        batch_size: int,
        split: Sequence[float] = (0.7, 0.1, 0.2),
        split_by: str = "time",
        min_input_length: int | None = None,
        order: str = "shuffled",
        stride: int = 1,
        eval_stride: int = 1,
        task: str = "window",
        centre: str = "last",
        look_back: bool = True,
        season_length: int | None = None,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
        share: Share = ALL_ROWS,
    ) -> None:
        """Check the settings against the series; `setup` does the work.

        Args:
            tables: the series, or several with the same columns and targets; gaps in them (NaN) are
                filled part by part, see `fill_gaps`.
            input_length: number of input rows.
            horizon: rows ahead that are forecast.
            batch_size: windows per batch, in training and in evaluation.
            split: fractions or counts of the training, validation and test parts.
            split_by: "time" splits the rows of each series, "series" gives whole series to a part.
            min_input_length: number of input rows at least, where a series has only just begun;
                None for `input_length`.
            order: "shuffled", or "streams", in which each row continues the batch before, see
                above; that needs the centre "none".
            stride: rows from one training window to the next.
            eval_stride: the same for validation, test and prediction.
            task: "window" or "every_step", see `WindowShape`.
            centre: "last" or "none", see `WindowDataset`.
            look_back: whether inputs of a validation or test window may be in the part before.
            season_length: rows of a season, for the seasonal baseline; None for none.
            seed: of the order of training windows, not negative.
            num_workers: processes that fetch batches; 0 fetches in this one, which is fast.
            pin_memory: whether batches are put into pinned memory, for copies to a GPU.
            share: the rows of each batch that the loaders return, for one of several replicas.

        Raises:
            UsageError: a setting is not valid, or does not fit the series.
        """
        super().__init__()
        check_positive("data.batch_size", batch_size)
        share.rows(batch_size)
        check_positive("data.eval_stride", eval_stride)
        if season_length is not None:
            check_positive("data.season_length", season_length)
        check_centre(centre, task)
        if order not in ORDERS:
            raise UsageError(f"data.order={order} is unknown; use one of {', '.join(ORDERS)}.")
        self.tables = (tables,) if isinstance(tables, Table) else tuple(tables)
        check_alike(self.tables)
        self.shape = WindowShape(input_length, horizon, task, min_input_length)
        self.parts = split_tables(self.tables, split, split_by)
        self.order = order
        self.season_length = season_length
        self.batch_size = batch_size
        self.share = share
        self._seed = seed
        self._centre = centre
        self._look_back = look_back
        self._strides = {"training": stride, "validation": eval_stride, "test": eval_stride}
        for part, stride_of_part in self._strides.items():
            for of_series in self.parts[part]:
                window_ends(self.shape, of_series, part, stride_of_part, look_back)
        values = _joined([table.values for table in self.tables])
        self._values = fill_gaps(values, self.tables[0].columns, self.parts)
        if order == "streams":
            check_level(centre)
            check_stride("data.stride", stride, self.shape)
            check_stride("data.eval_stride", eval_stride, self.shape)
        self._loader_options: dict[str, Any] = {
            # A stream's item is a whole batch.
            "batch_size": None if order == "streams" else batch_size,
            "num_workers": num_workers,
            "persistent_workers": num_workers > 0,
            "worker_init_fn": leave_signals_to_trainer,
            "pin_memory": pin_memory,
            "collate_fn": _already_a_batch,
            # A loader draws a number each time it is iterated: not from the global generator.
            "generator": torch.Generator(),
        }
        self._standardizer: Standardizer | None = None
        self._datasets: dict[str, WindowDataset] = {}

    @property
    def n_channels(self) -> int:
        """Number of input columns."""
        return len(self.tables[0].columns)

    @property
    def n_targets(self) -> int:
        """Number of columns to forecast."""
        return len(self.tables[0].targets)

    @property
    def standardizer(self) -> Standardizer:
        """The means and scales of the training rows of all series."""
        if self._standardizer is None:
            self._standardizer = Standardizer.fit(self._rows_of("training"))
        return self._standardizer

    @cached_property
    def record(self) -> DataRecord:
        """What distinguishes this data from other data."""
        first = self.tables[0]
        parts = {part: PartRecord.of(self._rows_of(part)) for part in self.parts}
        return DataRecord(list(first.columns), list(first.targets), parts)

    def setup(self, stage: str | None = None) -> None:
        """Standardise all series and cut all windows; a second call does nothing.

        Args:
            stage: Lightning's name of what comes next; all have the same data.

        Raises:
            UsageError: the season is longer than the rows before the first test window.
        """
        if self._datasets:
            return
        values = self.standardizer.transform(self._values)
        self._datasets = {
            part: WindowDataset(
                values,
                self.tables[0].target_columns,
                self.parts[part],
                self.shape,
                stride=stride,
                look_back=self._look_back,
                centre=self._centre,
                part_name=part,
            )
            for part, stride in self._strides.items()
        }

    def dataset(self, part: str) -> WindowDataset:
        """The windows of the "training", "validation" or "test" part."""
        self.setup()
        return self._datasets[part]

    def train_dataloader(self) -> ResumableLoader:
        """Training windows, in an order that depends on the seed and the epoch alone."""
        batches = self._batches("training", self.batch_size, self._seed)
        sampler = EpochSampler(len(batches), self._seed, draws=self.order == "shuffled")
        return ResumableLoader(batches, sampler=sampler, **self._loader_options)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation windows, oldest first, or in streams."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test windows, oldest first, or in streams."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test windows again, so that forecasts can be compared with what came."""
        return self.test_dataloader()

    def n_evaluation_batches(self, part: str) -> int:
        """Number of batches of all replicas in which a part is evaluated."""
        return len(self._evaluation_loader(part))

    def evaluation_windows(self, part: str, n_batches: int) -> Tensor:
        """Return the windows of the first batches when a part is evaluated.

        Args:
            part: "validation" or "test".
            n_batches: number of batches.

        Returns:
            Their indices in `dataset(part)`, for all replicas, int64 of shape `(windows,)`.
        """
        batches = self._batches(part, _N_EVALUATION_ROWS)
        if isinstance(batches, StreamBatches):
            return batches.first_windows(n_batches)
        return torch.arange(min(n_batches * self.batch_size, len(batches)))

    def baselines(self, part: str = "test", chosen: Tensor | None = None) -> dict[str, Score]:
        """Score the forecasts that need no training.

        Args:
            part: "training", "validation" or "test".
            chosen: indices of the windows to score, shape `(windows,)`; None for all of the part.

        Returns:
            Errors of "repeat_last" and, with a season length, of "seasonal_naive".

        Raises:
            UsageError: the season reaches back to before the series began.
        """
        dataset = self.dataset(part)
        scores = {"repeat_last": repeat_last(dataset, chosen)}
        if self.season_length is not None:
            scores["seasonal_naive"] = seasonal_naive(dataset, self.season_length, chosen)
        return scores

    def inverse(self, values: Tensor) -> Tensor:
        """Convert forecasts back to the units of the series.

        Args:
            values: standardised values of the targets, the anchor already added, shape
                `(..., n_targets)`.

        Returns:
            Tensor of the same shape, type and device.
        """
        units = self.standardizer.inverse(
            values.detach().double().cpu().numpy(), self.tables[0].target_columns
        )
        return torch.from_numpy(units).to(values)

    def _rows_of(self, part: str) -> NDArray[np.float64]:
        """The rows of a part in all series, in the units of the series."""
        return _joined([self._values[of.rows.start : of.rows.stop] for of in self.parts[part]])

    def _evaluation_loader(self, part: str) -> DataLoader[Batch]:
        return DataLoader(self._batches(part, _N_EVALUATION_ROWS), **self._loader_options)

    def _batches(
        self, part: str, n_filled: int, seed: int | None = None
    ) -> StreamBatches | SharedWindows:
        windows = self.dataset(part)
        if self.order == "streams":
            return StreamBatches(windows, self.batch_size, seed, n_filled, self.share)
        return SharedWindows(windows, self.batch_size, self.share)


def _joined(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    # One array is not copied: numpy would sum another memory layout in another order.
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _already_a_batch(batch: Batch) -> Batch:
    return batch
