"""Windows to forecast from as a LightningDataModule."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from gru_parallel.data.forecast_window import ForecastDataset
from gru_parallel.data.standardize import Standardizer
from gru_parallel.data.units import in_units
from gru_parallel.data.windows import Batch


class ForecastDataModule(LightningDataModule):
    """Windows to forecast from for Lightning's Trainer.

    Args:
        windows: to forecast from, in this order.
        standardizer: of the model.
        target_columns: positions of the columns to forecast.
        batch_size: windows of a batch of all replicas.
    """

    def __init__(
        self,
        windows: ForecastDataset,
        standardizer: Standardizer,
        target_columns: Sequence[int],
        batch_size: int,
    ) -> None:
        super().__init__()
        self._windows = windows
        self._standardizer = standardizer
        self._target_columns = target_columns
        self._batch_size = batch_size

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The windows, in order."""
        return DataLoader(
            self._windows,
            batch_size=self._batch_size,
            collate_fn=_already_a_batch,
            # A loader draws a number each time it is iterated: not from the global generator.
            generator=torch.Generator(),
        )

    def inverse(self, values: Tensor) -> Tensor:
        """Convert forecasts back to the units of the series; see `SeriesData.inverse`."""
        return in_units(values, self._standardizer, self._target_columns)


def _already_a_batch(batch: Any) -> Any:
    return batch
