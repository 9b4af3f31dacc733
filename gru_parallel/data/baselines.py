"""Forecasts that take no training, for a model's errors to stand beside."""

from dataclasses import dataclass

import torch

from gru_parallel.data.windows import WindowDataset, require_positive
from gru_parallel.errors import UsageError

_WINDOWS_AT_ONCE = 512


@dataclass(frozen=True)
class Score:
    """Errors over all windows, steps and targets, in standardised units.

    Attributes:
        mse: mean squared error.
        mae: mean absolute error.
    """

    mse: float
    mae: float


def repeat_last(dataset: WindowDataset) -> Score:
    """Score the forecast that nothing changes.

    Args:
        dataset: the windows to forecast.

    Returns:
        Its errors.
    """
    return _score_period(dataset, period=1)


def seasonal_naive(dataset: WindowDataset, period: int) -> Score:
    """Score the forecast that the last full season comes again.

    It looks at the series, not at the window, so the season may be longer than the window.

    Args:
        dataset: the windows to forecast.
        period: rows of a season, 24 for hourly values that follow the day.

    Returns:
        Its errors.

    Raises:
        UsageError: the period is not positive, or reaches back to before the series began.
    """
    require_positive("data.season_length", period)
    oldest = int(_source_rows(dataset, [0], period).min())
    if oldest < 0:
        raise UsageError(
            f"data.season_length={period} reaches back {-oldest} rows to before the series began; "
            f"use data.season_length <= {period + oldest}, or a later part in data.split."
        )
    return _score_period(dataset, period)


def _source_rows(dataset: WindowDataset, indices: list[int], period: int) -> torch.Tensor:
    """The rows that the forecasts are copied from: whole seasons before the target, and known."""
    leads = dataset.shape.leads
    n_seasons_back = (leads + period - 1) // period
    return dataset.target_rows(dataset.ends_of(indices)) - n_seasons_back * period


def _score_period(dataset: WindowDataset, period: int) -> Score:
    squared, absolute, n_numbers = 0.0, 0.0, 0
    for start in range(0, len(dataset), _WINDOWS_AT_ONCE):
        indices = list(range(start, min(start + _WINDOWS_AT_ONCE, len(dataset))))
        truth = dataset.target_values[dataset.target_rows(dataset.ends_of(indices))].double()
        errors = dataset.target_values[_source_rows(dataset, indices, period)] - truth
        squared += float(errors.square().sum())
        absolute += float(errors.abs().sum())
        n_numbers += errors.numel()
    return Score(squared / n_numbers, absolute / n_numbers)
