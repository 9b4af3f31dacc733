"""Refuses losses that do not go with their quantiles, or with the data."""

from __future__ import annotations

from gru_parallel.choices import COUNTS
from gru_parallel.config.schema import Config
from gru_parallel.errors import UsageError
from gru_parallel.rules import as_written, check_quantiles


def check_loss(config: Config) -> None:
    """Check what the loss takes.

    Raises:
        UsageError: two settings do not go together.
    """
    model, data = config.model, config.data
    if model.quantiles is not None and not config.quantiles:
        raise UsageError(
            f"model.quantiles={as_written(model.quantiles)} is of no use with model.loss="
            f"{model.loss}, which forecasts one number for each value; use model.loss=quantile,"
            " normal or negative_binomial, or leave it out."
        )
    if model.loss == "quantile":
        check_quantiles(config.quantiles, needs_median=True)
    if model.loss != COUNTS:
        return
    if data.scaling != "none":
        raise UsageError(
            f"model.loss={COUNTS} is the likelihood of counts, and data.scaling={data.scaling}"
            " makes other numbers of them; use data.scaling=none."
        )
    if data.centre not in ("scale", "none"):
        raise UsageError(
            f"model.loss={COUNTS} is the likelihood of counts, and data.centre={data.centre}"
            " subtracts something from them; use data.centre=scale, or none."
        )
