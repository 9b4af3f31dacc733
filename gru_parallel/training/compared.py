"""Brings forecasts, what came and what belongs to both to one shape and device, to be measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from gru_parallel.training.metrics import to_compare, within


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

    def in_scale_of(self, ratio: Tensor) -> Compared:
        """Return the same in other standardised units.

        Args:
            ratio: the scale of each target here over that there, shape `(targets,)`.
        """
        quantiles, naive = self.quantiles, self.naive_error
        return replace(
            self,
            point=self.point * ratio,
            target=self.target * ratio,
            quantiles=None if quantiles is None else quantiles * ratio.unsqueeze(-1),
            naive_error=None if naive is None else naive * ratio,
        )


def compare(
    forecast: Tensor,
    batch: Mapping[str, Tensor],
    inverse: Callable[[Tensor], Tensor] | None,
    *,
    every_step: bool,
    has_quantiles: bool,
) -> Compared:
    """Bring forecasts, what came and what belongs to both to one shape and device.

    Args:
        forecast: see `Output.forecast`; without rows where they come out in another process.
        batch: as the loader gave it.
        inverse: from standardised values to the units of the series; None if they have them.
        every_step: whether there is a forecast at every step; see `to_compare`.
        has_quantiles: whether a last dimension has the point forecast and the quantiles.
    """
    of_forecast, target = to_compare(forecast, batch, every_step=every_step)
    point = of_forecast[..., 0] if has_quantiles else of_forecast
    whole = batch["y"][: len(forecast)]
    lengths = batch.get("lengths") if every_step else None

    def of_windows(name: str) -> Tensor | None:
        if name not in batch:
            return None
        return within(batch[name][: len(whole)].to(target.device).expand_as(whole), lengths)

    anchor = of_windows("anchor")

    def in_units(values: Tensor) -> Tensor:
        # Of a high level, a float32 would lose the digits in which forecasts differ.
        level = values.double() if anchor is None else values.double() + anchor
        return level if inverse is None else inverse(level)

    return Compared(
        point,
        target,
        of_forecast[..., 1:] if has_quantiles else None,
        in_units(point),
        in_units(target),
        of_windows("naive_error"),
    )
