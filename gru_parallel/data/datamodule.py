"""A table as Lightning wants it: standardised, split by time, cut into windows, in batches."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from gru_parallel.data.baselines import Score, repeat_last, seasonal_naive
from gru_parallel.data.loader import ResumableLoader, ShuffledWindows
from gru_parallel.data.split import split as split_rows
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.table import Table
from gru_parallel.data.windows import (
    Batch,
    WindowDataset,
    WindowShape,
    check_centre,
    require_positive,
    window_ends,
)


class SeriesDataModule(LightningDataModule):
    """The data of a forecasting run.

    A batch is a dict of float32 tensors: `x`, shape `(batch, input_length, n_channels)`; `y`, shape
    `(batch, n_target_steps, n_targets)`; and `anchor`, shape `(batch, 1, n_targets)`, which added
    to `y` or to a forecast gives standardised values. Training windows come shuffled, all others in
    the order of time; a last batch that is smaller is kept.
    """

    def __init__(
        self,
        table: Table,
        *,
        input_length: int,
        horizon: int,
        batch_size: int,
        split: Sequence[float] = (0.7, 0.1, 0.2),
        stride: int = 1,
        eval_stride: int = 1,
        task: str = "window",
        centre: str = "last",
        look_back: bool = True,
        season_length: int | None = None,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        """Check the settings against the table; `setup` does the work.

        Args:
            table: the series.
            input_length: rows that go into the model.
            horizon: rows ahead that it forecasts.
            batch_size: windows a batch, in training and in evaluation.
            split: fractions or row counts of the training, validation and test parts.
            stride: rows from one training window to the next.
            eval_stride: the same for validation, test and prediction.
            task: "window" or "every_step", see `WindowShape`.
            centre: "last" or "none", see `WindowDataset`.
            look_back: whether the inputs of a validation or test window may lie in the part before.
            season_length: rows of a season for the seasonal baseline, or None for none.
            seed: of the order of training windows, not negative.
            num_workers: processes that fetch batches; 0 fetches in this one, and is fast.
            pin_memory: whether batches are put into pinned memory, for copies to a GPU.

        Raises:
            UsageError: a setting does not do, or does not fit the table.
        """
        super().__init__()
        require_positive("data.batch_size", batch_size)
        require_positive("data.eval_stride", eval_stride)
        if season_length is not None:
            require_positive("data.season_length", season_length)
        check_centre(centre, task)
        self.table = table
        self.shape = WindowShape(input_length, horizon, task)
        self.split = split_rows(table.n_rows, split)
        self.season_length = season_length
        self.batch_size = batch_size
        self._seed = seed
        self._centre = centre
        self._look_back = look_back
        self._strides = {"training": stride, "validation": eval_stride, "test": eval_stride}
        for part, stride_of_part in self._strides.items():
            window_ends(self.shape, self._rows(part), part, stride_of_part, look_back)
        self._loader_options: dict[str, Any] = {
            "batch_size": batch_size,
            "num_workers": num_workers,
            "persistent_workers": num_workers > 0,
            "pin_memory": pin_memory,
            "collate_fn": _already_a_batch,
            # A loader draws a number each time it is iterated: not from everybody's generator.
            "generator": torch.Generator(),
        }
        self._standardizer: Standardizer | None = None
        self._datasets: dict[str, WindowDataset] = {}

    @property
    def n_channels(self) -> int:
        """Number of input columns."""
        return len(self.table.columns)

    @property
    def n_targets(self) -> int:
        """Number of columns to forecast."""
        return len(self.table.targets)

    @property
    def input_length(self) -> int:
        """Rows that go into the model."""
        return self.shape.input_length

    @property
    def horizon(self) -> int:
        """Rows ahead that are forecast."""
        return self.shape.horizon

    @property
    def n_target_steps(self) -> int:
        """Number of target rows of a window: `horizon`, or `input_length` at every step."""
        return self.shape.n_target_steps

    @property
    def standardizer(self) -> Standardizer:
        """The means and scales, from the training part alone."""
        if self._standardizer is None:
            rows = self.split.training
            self._standardizer = Standardizer.fit(self.table.values[rows.start : rows.stop])
        return self._standardizer

    def setup(self, stage: str | None = None) -> None:
        """Standardise the series and cut all windows; a second call does nothing.

        Args:
            stage: Lightning's name of what comes next; all of it takes the same data.

        Raises:
            UsageError: the season is longer than the rows before the first test window.
        """
        if self._datasets:
            return
        values = self.standardizer.transform(self.table.values)
        self._datasets = {
            part: WindowDataset(
                values,
                self.table.target_columns,
                self._rows(part),
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
        dataset = self.dataset("training")
        sampler = ShuffledWindows(len(dataset), self._seed)
        loader = ResumableLoader(dataset, sampler=sampler, **self._loader_options)
        loader.n_batches_done = self._n_batches_done
        return loader

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation windows, oldest first."""
        return DataLoader(self.dataset("validation"), **self._loader_options)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test windows, oldest first."""
        return DataLoader(self.dataset("test"), **self._loader_options)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test windows again: forecasts that can be held against what came."""
        return self.test_dataloader()

    def baselines(self, part: str = "test") -> dict[str, Score]:
        """Score the forecasts that take no training.

        Args:
            part: "training", "validation" or "test".

        Returns:
            Errors of "repeat_last" and, where there is a season length, of "seasonal_naive".

        Raises:
            UsageError: the season reaches back to before the series began.
        """
        dataset = self.dataset(part)
        scores = {"repeat_last": repeat_last(dataset)}
        if self.season_length is not None:
            scores["seasonal_naive"] = seasonal_naive(dataset, self.season_length)
        return scores

    def inverse(self, values: Tensor) -> Tensor:
        """Bring forecasts back to the units of the series.

        Args:
            values: standardised values of the targets, the anchor already added, shape
                `(..., n_targets)`.

        Returns:
            Tensor of the same shape, type and device.
        """
        units = self.standardizer.inverse(
            values.detach().double().cpu().numpy(), self.table.target_columns
        )
        return torch.from_numpy(units).to(values)

    def _rows(self, part: str) -> range:
        rows: range = getattr(self.split, part)
        return rows

    def _n_batches_done(self) -> int:
        """Batches of the present epoch that the Trainer has finished: all, where it was cut short.

        `processed` is the count by which Lightning, too, decides what to run again.
        """
        if self.trainer is None:
            return 0
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        n_done: int = progress.processed  # type: ignore[attr-defined]  # declared as a base class
        n_batches = -(-len(self.dataset("training")) // self.batch_size)
        return n_batches if n_done >= self.trainer.num_training_batches else n_done


def _already_a_batch(batch: Batch) -> Batch:
    return batch
