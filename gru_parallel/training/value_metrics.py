"""What each forecast value adds to the metrics, for means by step, target or series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional import (
    mean_absolute_error,
    mean_squared_error,
    symmetric_mean_absolute_percentage_error,
)

from gru_parallel.choices import coverage_names
from gru_parallel.model.output import pinball_by_level
from gru_parallel.training.compared import Compared


class OfValues(NamedTuple):
    """What each value adds to a metric, which is a mean.

    Attributes:
        values: shape (..., targets); 0 where a value does not count.
        counts: of the same shape, bool: whether it does.
    """

    values: Tensor
    counts: Tensor


def value_metrics(compared: Compared, levels: Sequence[float]) -> dict[str, OfValues]:
    """Return what each value adds to the metrics, by name; the RMSE is the root of the MSE.

    Args:
        compared: forecasts, and what came.
        levels: of the quantiles; () for none.
    """
    point, target = compared.point, compared.target
    in_units = compared.point_in_units, compared.target_in_units
    all_count = torch.ones_like(target, dtype=torch.bool)
    found = {
        "mse": OfValues(_of_each(mean_squared_error, point, target), all_count),
        "mae": OfValues(_of_each(mean_absolute_error, point, target), all_count),
        "smape": OfValues(_of_each(symmetric_mean_absolute_percentage_error, *in_units), all_count),
    }
    scaled = scaled_errors(compared)
    if scaled is not None:
        found["mase"] = scaled
    if compared.quantiles is not None:
        errors = tuple(pinball_by_level(levels, compared.quantiles, target))
        found["pinball"] = OfValues(torch.stack(errors).mean(0), all_count)
        found |= intervals(levels, compared.quantiles, target)
    return found


def scaled_errors(compared: Compared) -> OfValues | None:
    """Return the errors over those of the naive forecast, for MASE; None where none is known."""
    if compared.naive_error is None:
        return None
    is_known = compared.naive_error > 0
    scaled = (compared.point - compared.target).abs() / compared.naive_error
    return OfValues(torch.where(is_known, scaled, 0), is_known)


def intervals(levels: Sequence[float], quantiles: Tensor, target: Tensor) -> dict[str, OfValues]:
    """Return which values each central interval holds, bounds included, by name of its coverage.

    Args:
        levels: of the quantiles.
        quantiles: by level in the last dimension.
        target: of the shape of the others.
    """
    found = {}
    for number, name in enumerate(coverage_names(levels)):
        lower, upper = quantiles[..., number], quantiles[..., -1 - number]
        is_inside = (lower <= target) & (target <= upper)
        found[name] = OfValues(is_inside, torch.ones_like(is_inside))
    return found


def _of_each(metric: Callable[[Tensor, Tensor], Tensor], point: Tensor, target: Tensor) -> Tensor:
    """Return a mean of torchmetrics for each value by itself."""
    each: Tensor = torch.func.vmap(metric)(point.flatten(), target.flatten())
    return each.reshape(point.shape)
