"""What a backtest measures of each forecast of a fit: the metrics of a test, and the MAPE."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gru_parallel.data import SeriesDataModule
from gru_parallel.data.backtest_errors import MAPE, OfValues
from gru_parallel.data.forecasts import ForecastArrays, PredictedWindows, naive_sources
from gru_parallel.data.percentage_errors import percentage_errors
from gru_parallel.training.compared import compare
from gru_parallel.training.value_metrics import value_metrics

Measured = dict[str, OfValues]


class FitMetrics:
    """Measures forecasts of test windows of one fit, in the standardised units of the run.

    Args:
        data: of the fit.
        scale: of each target in the run, array of shape `(targets,)`.
        levels: of the quantiles that the model forecasts; () for none.
    """

    def __init__(
        self, data: SeriesDataModule, scale: NDArray[np.float64], levels: tuple[float, ...]
    ) -> None:
        self._data = data
        self._levels = levels
        own = data.standardizer.scale[list(data.tables[0].target_columns)]
        self._ratio = torch.from_numpy(own / scale).float()

    def of_model(self, predicted: PredictedWindows, arrays: ForecastArrays) -> Measured:
        """Measure what the model forecasts.

        Args:
            predicted: some windows.
            arrays: the same in the units of the series.
        """
        found = self._measured(predicted, predicted.whole, self._levels)
        return found | {MAPE: percentage_errors(arrays.came, arrays.forecast)}

    def of_naive(
        self, predicted: PredictedWindows, arrays: ForecastArrays, period: int
    ) -> Measured:
        """Measure what a baseline forecasts of the same windows.

        Args:
            predicted: see `of_model`.
            arrays: see `of_model`.
            period: rows of a season; 1 repeats the last value.
        """
        data = self._data
        sources = naive_sources(data, predicted.rows, period)
        forecast = data.dataset("test").target_values[sources] - predicted.batch["anchor"]
        found = self._measured(predicted, forecast, ())
        return found | {MAPE: percentage_errors(arrays.came, data.targets_at(sources))}

    def _measured(
        self, predicted: PredictedWindows, forecast: Tensor, levels: tuple[float, ...]
    ) -> Measured:
        compared = compare(
            forecast,
            predicted.batch,
            self._data.inverse,
            every_step=False,
            has_quantiles=len(levels) > 0,
        )
        of_all = value_metrics(compared.in_scale_of(self._ratio), levels)
        return {name: (values.numpy(), counts.numpy()) for name, (values, counts) in of_all.items()}
