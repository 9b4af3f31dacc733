"""Series as batches: standardised, split, cut into windows. Knows nothing of Lightning."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from gru_parallel.data.baselines import Score, repeat_last, seasonal_naive
from gru_parallel.data.calendar_features import calendar_features
from gru_parallel.data.loader import EpochSampler, ResumableLoader, leave_signals_to_trainer
from gru_parallel.data.naive_error import naive_error
from gru_parallel.data.record import DataRecord, PartRecord
from gru_parallel.data.series_outline import SeriesOutline, joined, rows_of
from gru_parallel.data.shared_windows import SharedWindows
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.static import StaticColumn
from gru_parallel.data.stream_batches import StreamBatches
from gru_parallel.data.units import in_units
from gru_parallel.data.windows import Batch, WindowDataset
from gru_parallel.step_errors import StepError, StepErrors, step_table


class SeriesData(SeriesOutline):
    """The data of a forecasting run, of one series or of several.

    A batch is a dict of float32 tensors: `x`, shape `(batch, input_length, n_channels)`; `y`, shape
    `(batch, n_target_steps, n_targets)`; and `anchor`, shape `(batch, 1, n_targets)` and of
    float64, to be added to `y` or a forecast for standardised values. Where windows are
    standardised, too, there is `scale`, of the same shape, by which a prediction is multiplied to
    be a forecast. Training windows are shuffled, all others are in the order of time; a smaller
    last batch is kept.

    Where something is known ahead (columns that a `Table` says, or `calendar`), it is the last
    columns of `x`, and `future`, of shape `(batch, horizon, n_known)`, continues them after the
    window. Windows are not centred in these columns. What describes the series of a window
    (`Table.static`) is `static`, of shape `(batch, n_static)`. Where rows have weights, training
    and validation windows have `weight`, of shape `(batch, n_target_steps)`: how much each target
    row counts in the loss, 1 in the mean of the training rows.

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

    @cached_property
    def standardizer(self) -> Standardizer:
        """The means and scales of the training rows of all series, or those that were given.

        Without scaling, means of 0 and scales of 1; but what is known ahead is always scaled.

        Raises:
            UsageError: the numbers of a column cannot be scaled.
        """
        if self._given_standardizer is not None:
            return self._given_standardizer
        standardizer = Standardizer.fit(self._rows_of("training"))
        if self._scaling == "none":
            standardizer = standardizer.leaving(self.widths.n_channels)
        standardizer.check(self.tables[0].columns)
        return standardizer

    def standardize_by(self, standardizer: Standardizer) -> None:
        """Standardise by other means and scales than those of the training rows, from now on.

        Raises:
            RuntimeError: windows have been cut already.
        """
        self._check_uncut("standardize_by")
        self.standardizer = standardizer

    def describe_by(self, static: Sequence[StaticColumn]) -> None:
        """Turn what describes series into numbers in another way than by the training series.

        Raises:
            RuntimeError: windows have been cut already.
            UsageError: a series is described by a word that is not known there.
        """
        self._check_uncut("describe_by")
        self.static, self._static = tuple(static), self._encoded(static)

    def _check_uncut(self, method: str) -> None:
        if "_datasets" in self.__dict__:
            raise RuntimeError(f"{method} comes before windows are cut, as by setup().")

    @cached_property
    def _loader_options(self) -> dict[str, Any]:
        return {
            # A stream's item is a whole batch.
            "batch_size": None if self.order == "streams" else self.batch_size,
            "num_workers": self._num_workers,
            "persistent_workers": self._num_workers > 0,
            "worker_init_fn": leave_signals_to_trainer,
            "pin_memory": self._pin_memory,
            "collate_fn": _already_a_batch,
            # A loader draws a number each time it is iterated: not from the global generator.
            "generator": torch.Generator(),
        }

    @cached_property
    def record(self) -> DataRecord:
        """What distinguishes this data from other data."""
        first = self.tables[0]
        parts = {part: PartRecord.of(self._rows_of(part)) for part in self.parts}
        by = self.standardizer
        return DataRecord(
            list(first.columns),
            list(first.targets),
            parts,
            by.mean.tolist(),
            by.scale.tolist(),
            list(first.future),
            list(self.calendar),
            list(self.static),
            None if self.weight is None else (float(self.weight.mean()), float(self.weight.std())),
        )

    def setup(self, stage: str | None = None) -> None:
        """Standardise all series and cut all windows; a second call does nothing.

        Args:
            stage: Lightning's name of what comes next; all have the same data.
        """
        _ = self._datasets

    @cached_property
    def _datasets(self) -> dict[str, WindowDataset]:
        values = self.standardizer.transform(self._values)
        n_channels = self.tables[0].n_channels
        known = self._known_ahead(values[:, n_channels:])
        return {
            part: WindowDataset(
                values[:, :n_channels],
                self.tables[0].target_columns,
                self.parts[part],
                self.shape,
                stride=stride,
                look_back=self._look_back,
                centre=self._centre,
                known=known,
                static=[self._static[of_series.series_start] for of_series in self.parts[part]],
                weight=None if part == "test" else self.weight,
                part_name=part,
                standardizer=self.standardizer,
                naive_errors=None if part == "training" else self._naive_errors(values, part),
            )
            for part, stride in self._strides.items()
        }

    def _known_ahead(self, future: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is known ahead of each row, array of shape `(rows, n_known)`."""
        of_tables = [
            calendar_features(table.times, self.calendar)
            for table in self.tables
            if table.times is not None and self.calendar
        ]
        return np.concatenate([future, joined(of_tables)], axis=1) if of_tables else future

    def _naive_errors(self, values: NDArray[np.float64], part: str) -> list[NDArray[np.float64]]:
        """Measure the naive forecast in the training part of each series of a part.

        Args:
            values: standardised, of all series.
            part: whose series are meant.

        Returns:
            Of each series, an array of shape `(n_targets,)`; NaN for one without a training part.
        """
        training = {of.series_start: of.rows for of in self.parts["training"]}
        found = []
        for of_series in self.parts[part]:
            rows = training.get(of_series.series_start, range(0))
            history = values[rows.start : rows.stop, list(self.tables[0].target_columns)]
            found.append(naive_error(history, self.season_length))
        return found

    def dataset(self, part: str) -> WindowDataset:
        """The windows of the "training", "validation" or "test" part."""
        return self._datasets[part]

    def train_dataloader(self) -> ResumableLoader:
        """Training windows, in an order that depends on the seed and the epoch alone."""
        batches = self._batches("training")
        sampler = EpochSampler(len(batches), self._seed, draws=self.order == "shuffled")
        return ResumableLoader(batches, sampler=sampler, **self._loader_options)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Validation windows, oldest first, or in streams; no loader if there is no such part."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Test windows, oldest first, or in streams; no loader if there is no test part."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """The test windows again, so that forecasts can be compared with what came."""
        return self.test_dataloader()

    def evaluation_windows(self, part: str, n_batches: int) -> Tensor:
        """Return the windows of the first batches when a part is evaluated.

        Args:
            part: "validation" or "test".
            n_batches: number of batches.

        Returns:
            Their indices in `dataset(part)`, for all replicas, int64 of shape `(windows,)`.
        """
        if n_batches == 0:
            return torch.zeros(0, dtype=torch.long)
        batches = self._batches(part)
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

    def step_table(self, by_method: Mapping[str, StepErrors]) -> list[StepError]:
        """List errors by target, step and method, in standardised units and those of the series.

        Args:
            by_method: errors of the model and of the baselines, by name.
        """
        table, horizon = self.tables[0], self.shape.horizon
        steps = range(1, horizon + 1) if self.shape.task == "window" else (horizon,)
        scale = self.standardizer.scale[list(table.target_columns)]
        return step_table(by_method, table.targets, steps, scale)

    def inverse(self, values: Tensor) -> Tensor:
        """Convert forecasts back to the units of the series.

        Args:
            values: standardised values of the targets, the anchor already added, shape
                `(..., n_targets)`.

        Returns:
            Tensor of float64, of the same shape and device.
        """
        return in_units(values, self.standardizer, self.tables[0].target_columns)

    def targets_at(self, rows: Tensor) -> NDArray[np.float64]:
        """Return the values of the targets in the units of the series, gaps filled.

        Args:
            rows: counted through all series, of any shape.

        Returns:
            Array of the shape of `rows`, and of targets in the last dimension.
        """
        columns = list(self.tables[0].target_columns)
        values: NDArray[np.float64] = self._values[rows.numpy()][..., columns]
        return values

    def _rows_of(self, part: str) -> NDArray[np.float64]:
        """The rows of a part in all series, in the units of the series."""
        return rows_of(self._values, self.parts[part])

    def _evaluation_loader(self, part: str) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        if not self.parts[part]:
            # To Lightning, no loader is no validation and no test; it warns of that.
            return []
        return DataLoader(self._batches(part), **self._loader_options)

    def _batches(self, part: str) -> StreamBatches | SharedWindows:
        windows = self.dataset(part)
        if self.order == "streams":
            seed = self._seed if part == "training" else None
            return StreamBatches(windows, self.batch_size, seed, self._n_filled(part), self.share)
        return SharedWindows(windows, self.batch_size, self.share)


def _already_a_batch(batch: Batch) -> Batch:
    return batch
