"""What validation and test measure of forecasts; docs/after-training.md defines each metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, Self, cast

from torch import Tensor, nn
from torchmetrics import (
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    SymmetricMeanAbsolutePercentageError,
)

from gru_parallel.choices import coverage_names
from gru_parallel.model.output import pinball
from gru_parallel.training.compared import Compared
from gru_parallel.training.metrics import MeanLoss, leave_inference_mode
from gru_parallel.training.value_metrics import intervals, scaled_errors


class ForecastMetrics(nn.ModuleDict):
    """The metrics of a part, by the names of `metric_names` and `loss`.

    Those without a class in torchmetrics are sums and counts: MASE (Hyndman and Koehler, Another
    look at measures of forecast accuracy, Int. J. of Forecasting 22, 2006), the pinball loss, and
    coverage, the share of values from the lower to the upper bound of an interval.

    States keep at least 32 bits where the model that they belong to is converted to 16, as by
    trainer.precision=bf16-true: a running sum of so few digits soon stops growing.

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
            leave_inference_mode(metric)
            metric.update(*measured)
            yield name, metric

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # torchmetrics asks for the name of the function.
        @wraps(fn)
        def kept_wide(state: Tensor) -> Tensor:
            found = fn(state)
            return state.to(found.device) if found.dtype.itemsize == 2 else found

        moved: Self = nn.ModuleDict._apply(self, kept_wide, recurse)
        return moved

    def _measured(self, compared: Compared) -> dict[str, tuple[Any, Any]]:
        """Return what each metric is to count."""
        point, target, quantiles = compared.point, compared.target, compared.quantiles
        found: dict[str, tuple[Any, Any]] = dict.fromkeys(("mse", "mae", "rmse"), (point, target))
        found["smape"] = compared.point_in_units, compared.target_in_units
        scaled = scaled_errors(compared)
        if scaled is not None:
            found["mase"] = scaled.values.sum(), scaled.counts.sum()
        if quantiles is not None:
            found["pinball"] = pinball(self.levels, quantiles, target), target.numel()
            for name, inside in intervals(self.levels, quantiles, target).items():
                found[name] = inside.values.sum(), target.numel()
        return found


def tested_metrics(logged: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of a test, but for its loss, by name.

    Args:
        logged: what `Trainer.test` returned.
    """
    by_name = {name.removeprefix("test/"): value for name, value in logged.items()}
    return {name: value for name, value in by_name.items() if name != "loss"}
