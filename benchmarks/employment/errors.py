"""Errors of forecasts of many series: those of a model, and of each forecaster from its origins."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmarks.employment.forecasters import SEASON, Forecaster
from gru_parallel.data.naive_error import naive_error

MODEL = "model"


def errors_of(
    forecasts: pd.DataFrame,
    series: Mapping[str, pd.Series],
    forecasters: Mapping[str, Forecaster],
) -> dict[str, dict[str, float]]:
    """Measure what a backtest forecast, and what others would have from the same origins.

    Args:
        forecasts: rows as `gru-parallel backtest` writes them: unique_id, ds, cutoff, y_hat, y.
        series: values of each series by time, in order.
        forecasters: by name.

    Returns:
        By name, the model's being `MODEL`: `mae`, and `mase`, which is `mase_of_history` in a
        backtest; each is the mean over a series, and then over the series.
    """
    by_series = [
        _of_series(rows, series[str(name)], forecasters)
        for name, rows in forecasts.groupby("unique_id", sort=False)
    ]
    return {
        method: {
            error: float(np.mean([errors[method][error] for errors in by_series]))
            for error in ("mae", "mase")
        }
        for method in (MODEL, *forecasters)
    }


def _of_series(
    rows: pd.DataFrame, values: pd.Series, forecasters: Mapping[str, Forecaster]
) -> dict[str, dict[str, float]]:
    absolute: dict[str, list[float]] = {method: [] for method in (MODEL, *forecasters)}
    for cutoff, ahead in rows.groupby("cutoff"):
        known = values[:cutoff].to_numpy()
        came = ahead["y"].to_numpy()
        absolute[MODEL].append(float(np.abs(ahead["y_hat"].to_numpy() - came).mean()))
        for name, forecast in forecasters.items():
            absolute[name].append(float(np.abs(forecast(known, len(came)) - came).mean()))
    history = values[: rows["cutoff"].min()].to_numpy()
    (scale,) = naive_error(history[:, np.newaxis], SEASON)
    maes = {method: float(np.mean(errors)) for method, errors in absolute.items()}
    return {method: {"mae": mae, "mase": mae / scale} for method, mae in maes.items()}
