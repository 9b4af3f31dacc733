"""What validation and test measure of forecasts; docs/after-training.md defines each metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics import (
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    SymmetricMeanAbsolutePercentageError,
)

from gru_parallel.choices import coverage_names
from gru_parallel.model.output import pinball
from gru_parallel.training.metrics import MeanLoss, to_compare, within


@dataclass(frozen=True)
class Compared:
    """Forecasts of a batch and what came, standardised unless said otherwise, shape (..., targets).

    Attributes:
        point: the point forecasts.
        target: what came.
        quantiles: shape (..., targets, levels); None for none.
        point_in_units: the point forecasts in the units of the series.
        target_in_units: what came, in these units.
        naive_error: mean absolute error of the naive forecast in the training part of each series;
            0 or NaN where that is not known. None where no batch has it.
    """

    point: Tensor
    target: Tensor
    quantiles: Tensor | None
    point_in_units: Tensor
    target_in_units: Tensor
    naive_error: Tensor | None


class ForecastMetrics(nn.ModuleDict):
    """The metrics of a part, by the names of `metric_names` and `loss`.

    Those without a class in torchmetrics are sums and counts: MASE (Hyndman and Koehler, Another
    look at measures of forecast accuracy, Int. J. of Forecasting 22, 2006), the pinball loss, and
    coverage, the share of values from the lower to the upper bound of an interval.

    Args:
        levels: of the quantiles; () for none.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        of_quantiles = ("pinball", *coverage_names(levels)) if levels else ()
        metrics: dict[str, Metric] = {
            "loss": MeanLoss(),
            "mse": MeanSquaredError(),
            "mae": MeanAbsoluteError(),
            "rmse": MeanSquaredError(squared=False),
            "smape": SymmetricMeanAbsolutePercentageError(),
            "mase": MeanLoss(),
            **{name: MeanLoss() for name in of_quantiles},
        }
        super().__init__(cast("dict[str, nn.Module]", metrics))
        self.levels = tuple(levels)

    def compare(
        self,
        forecast: Tensor,
        batch: Mapping[str, Tensor],
        inverse: Callable[[Tensor], Tensor] | None,
        *,
        every_step: bool,
    ) -> Compared:
        """Bring forecasts, what came and what belongs to both to one shape and device.

        Args:
            forecast: see `Output.forecast`; without rows where they come out in another process.
            batch: as the loader gave it.
            inverse: from standardised values to the units of the series; None if they have them.
            every_step: whether there is a forecast at every step; see `to_compare`.
        """
        of_forecast, target = to_compare(forecast, batch, every_step=every_step)
        point = of_forecast[..., 0] if self.levels else of_forecast
        whole = batch["y"][: len(forecast)]
        lengths = batch.get("lengths") if every_step else None

        def of_windows(name: str) -> Tensor | None:
            if name not in batch:
                return None
            return within(batch[name][: len(whole)].to(target).expand_as(whole), lengths)

        anchor = of_windows("anchor")

        def in_units(values: Tensor) -> Tensor:
            # Of a high level, a float32 would lose the digits in which forecasts differ.
            level = values.double() if anchor is None else values.double() + anchor
            return level if inverse is None else inverse(level)

        return Compared(
            point,
            target,
            of_forecast[..., 1:] if self.levels else None,
            in_units(point),
            in_units(target),
            of_windows("naive_error"),
        )

    def count(
        self, total_loss: Tensor, n_elements: int, compared: Compared
    ) -> Iterator[tuple[str, Metric]]:
        """Count a batch, and yield each metric that it counts in, by name.

        Args:
            total_loss: the sum of the losses of the batch.
            n_elements: number of elements that it runs over.
            compared: forecasts of the batch, and what came.
        """
        losses: dict[str, tuple[Any, Any]] = {"loss": (total_loss, n_elements)}
        for name, measured in (losses | self._measured(compared)).items():
            metric = cast(Metric, self[name])
            metric.update(*measured)
            yield name, metric

    def _measured(self, compared: Compared) -> dict[str, tuple[Any, Any]]:
        """Return what each metric is to count."""
        point, target, quantiles = compared.point, compared.target, compared.quantiles
        found: dict[str, tuple[Any, Any]] = dict.fromkeys(("mse", "mae", "rmse"), (point, target))
        found["smape"] = compared.point_in_units, compared.target_in_units
        if compared.naive_error is not None:
            is_known = compared.naive_error > 0
            scaled = (point - target).abs() / compared.naive_error
            found["mase"] = torch.where(is_known, scaled, 0).sum(), is_known.sum()
        if quantiles is not None:
            found["pinball"] = pinball(self.levels, quantiles, target), target.numel()
            for number, name in enumerate(coverage_names(self.levels)):
                lower, upper = quantiles[..., number], quantiles[..., -1 - number]
                is_inside = (lower <= target) & (target <= upper)
                found[name] = is_inside.sum(), target.numel()
        return found


def tested_metrics(logged: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a test, but for its loss, by name.

    Args:
        logged: what `Trainer.test` returned.
    """
    by_name = {name.removeprefix("test/"): value for name, value in logged.items()}
    return {name: value for name, value in by_name.items() if name != "loss"}
