"""Trained: a model, what has to be known of its data to forecast with it, and its forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gru_parallel.export.level import at_level, centred_by, columns_of, for_each_number
from gru_parallel.model import StackModel, Start, Windows, describe
from gru_parallel.version import __version__


@dataclass(frozen=True)
class Scaling:
    """Mean and scale of each column of a series, and where its targets are.

    Attributes:
        mean: in the units of the series, float64 of shape `(columns,)`.
        scale: standard deviation, float64 of shape `(columns,)`.
        targets: positions of the targets among the columns.
    """

    mean: Tensor
    scale: Tensor
    targets: tuple[int, ...]

    def standardised(self, values: Tensor) -> Tensor:
        """Convert values of all columns to standard units, in float64."""
        return (values.double() - self.mean) / self.scale

    def in_units(self, forecast: Tensor) -> Tensor:
        """Convert forecasts of the targets to the units of the series, in float64."""
        targets = list(self.targets)
        scale, mean = (
            for_each_number(of_columns[targets], forecast) for of_columns in (self.scale, self.mean)
        )
        return forecast.double() * scale + mean


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        model: on the CPU.
        columns: names of the columns of a window, in their order.
        targets: names of the columns that are forecast.
        scaling: of the training rows.
        input_length: rows of the windows that it was trained on.
        horizon: rows ahead that it forecasts.
        centre: what windows and forecasts are relative to, one of `CENTRES`.
    """

    model: StackModel
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    scaling: Scaling
    input_length: int
    horizon: int
    centre: str

    @property
    def dtype(self) -> torch.dtype:
        """The weights' type."""
        return next(self.model.parameters()).dtype

    def forecast(self, x: Tensor, h_0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Forecast as a run does.

        Args:
            x: standardised windows, shape `(batch, time, columns)`, in the weights' type.
            h_0: what layers that carry their state start from, shape `(n_states, batch,
                hidden_size)`; None for zeros.

        Returns:
            forecast: standardised, shape `(batch, horizon, targets)`, or with one forecast per
                step `(batch, time, targets)`; with several numbers for each value, see
                `Output.exported`, they are a further dimension.
            h_n: final states, in the layout of h_0.
        """
        model = self.model.eval()
        with torch.no_grad():
            centred, anchor, scale = centred_by(self.centre, x)
            targets = self.scaling.targets
            rows = model.rows_of(Windows(centred, scale=columns_of(scale, targets)))
            y, h_n = model.run(rows.x, start=Start(carried=h_0), scale=rows.scale)
            forecast = model.output.exported(model.predictions_of(y))
            return at_level(forecast, anchor, targets), h_n

    def about(self, *, in_units: bool) -> dict[str, Any]:
        """Describe in plain values what goes in and what comes out.

        Args:
            in_units: whether windows and forecasts are in the units of the series.
        """
        return {
            "written_by": f"gru_parallel {__version__}",
            "units": "series" if in_units else "standardised",
            "columns": list(self.columns),
            "targets": list(self.targets),
            "target_positions": list(self.scaling.targets),
            "input_length": self.input_length,
            "horizon": self.horizon,
            "every_step": self.model.head.every_step,
            "carries": self.model.gru.carries,
            "centre": self.centre,
            "numbers": list(self.model.output.exported_names),
            "mean": self.scaling.mean.tolist(),
            "scale": self.scaling.scale.tolist(),
            "model": describe(self.model),
        }
