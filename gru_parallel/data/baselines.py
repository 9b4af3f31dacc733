"""Forecasts that need no training, to compare a model's errors with."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import nan, sqrt

import torch
from torch import Tensor

from gru_parallel.choices import ERRORS
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import WindowDataset, WindowRows
from gru_parallel.errors import UsageError, check_positive
from gru_parallel.step_errors import StepErrors

_WINDOWS_AT_ONCE = 512

_LEAST_SIZE = 1.17e-6
"""What sMAPE divides by at least, as in torchmetrics."""


@dataclass(frozen=True)
class Score:
    """Errors over windows, steps and targets; docs/after-training.md defines them.

    Attributes:
        mse: mean squared error, in standardised units.
        mae: mean absolute error, in standardised units.
        by_step: both, for each step and target.
        smape: symmetric mean absolute percentage error, from 0 to 2.
        mase: mean absolute scaled error; NaN where no window has a scale.
    """

    mse: float
    mae: float
    by_step: StepErrors = field(repr=False, compare=False)
    smape: float = field(default=nan, compare=False)
    mase: float = field(default=nan, compare=False)

    @property
    def metrics(self) -> dict[str, float]:
        """All errors by name, see `ERRORS`."""
        errors = self.mse, self.mae, sqrt(self.mse), self.smape, self.mase
        return dict(zip(ERRORS, errors, strict=True))


def repeat_last(dataset: WindowDataset, chosen: Tensor | None = None) -> Score:
    """Score the forecast that nothing changes.

    Args:
        dataset: the windows to forecast.
        chosen: indices of those to score, shape `(windows,)`; None for all.
    """
    return _score(dataset, chosen, period=1)


def seasonal_naive(dataset: WindowDataset, period: int, chosen: Tensor | None = None) -> Score:
    """Score the forecast that the last full season repeats itself.

    A value is forecast by the newest one that is known and whole seasons before it. Seasons are
    counted in rows: a row that was left out (data.missing=drop) shortens its season, and a value
    that was filled in (data.missing=interpolate) is repeated like any other. It looks at the
    series, not at the window, so the season may be longer than the window. Where there are several
    series, or windows may be short, a target without a full season before it in its series is
    forecast by the last value instead.

    Args:
        dataset: the windows to forecast.
        period: rows of a season: 24 for hourly values that repeat every day.
        chosen: indices of the windows to score, shape `(windows,)`; None for all.

    Raises:
        UsageError: the period is not positive, or reaches back to before the series began: for any
            window of a single series, for all windows of several, chosen or not.
    """
    check_positive("data.season_length", period)
    if dataset.is_single_series and not dataset.shape.may_be_short:
        rows = dataset.rows_of([0])
        oldest = int((_season_before(dataset, rows, period) - rows.series_starts).min())
        if oldest < 0:
            raise UsageError(
                f"data.season_length={period} reaches back {-oldest} rows to before the series "
                f"began; use data.season_length <= {period + oldest}, or a later part in "
                "data.split."
            )
    elif not any(_has_season(dataset, some, period) for some in _pieces(dataset)):
        raise UsageError(
            f"data.season_length={period} reaches back to before its series began for every window;"
            " use a shorter season, or data.season_length=null."
        )
    return _score(dataset, chosen, period)


def naive_rows(dataset: WindowDataset, rows: WindowRows, period: int) -> Tensor:
    """Return the rows whose values a naive forecast repeats, in the shape of `rows.targets`.

    Args:
        dataset: the windows.
        rows: of those that are forecast.
        period: rows of a season; 1 repeats the last value.
    """
    source = _season_before(dataset, rows, period)
    last_known = rows.targets - _leads(dataset.shape)
    return torch.where(source < rows.series_starts, last_known, source)


def _has_season(dataset: WindowDataset, windows: Tensor, period: int) -> bool:
    rows = dataset.rows_of(windows)
    return bool((_season_before(dataset, rows, period) >= rows.series_starts).any())


def _season_before(dataset: WindowDataset, rows: WindowRows, period: int) -> Tensor:
    """The newest rows that are whole seasons before the targets and known by then."""
    n_seasons_back = (_leads(dataset.shape) + period - 1) // period
    return rows.targets - n_seasons_back * period


def _leads(shape: WindowShape) -> Tensor:
    """Rows from the newest input that each target may use to the target.

    Of shape `(horizon,)`, or `(1,)` with the task "every_step", where all are the same.
    """
    if shape.task == "window":
        return torch.arange(1, shape.horizon + 1)
    return torch.tensor([shape.horizon])


def _score(dataset: WindowDataset, chosen: Tensor | None, period: int) -> Score:
    squared, absolute, n_numbers, n_rows = 0.0, 0.0, 0, 0
    relative, scaled, n_scaled = 0.0, 0.0, 0
    n_targets = dataset.target_values.shape[1]
    by_step = torch.zeros(2, len(_leads(dataset.shape)), n_targets, dtype=torch.float64)
    for some in _pieces(dataset, chosen):
        rows = dataset.rows_of(some)
        source = naive_rows(dataset, rows, period)
        truth = dataset.target_values[rows.targets]
        errors = dataset.target_values[source] - truth
        steps_of_windows = torch.full_like(rows.lengths, rows.targets.shape[1])
        n_steps = rows.targets.numel()
        if dataset.shape.task == "every_step":
            errors = errors.masked_fill(rows.is_padding.unsqueeze(2), 0.0)
            steps_of_windows = rows.lengths
            n_steps = int(rows.lengths.sum())
        squared += float(errors.square().sum())
        absolute += float(errors.abs().sum())
        n_numbers += n_steps * n_targets
        # Padding has no error, in any unit.
        came, said = dataset.in_units(truth), dataset.in_units(truth + errors)
        size = (came.abs() + said.abs()).clamp(min=_LEAST_SIZE)
        relative += float((2 * (said - came).abs() / size).sum())
        naive = dataset.naive_errors(some)
        scaled += float(torch.where(naive > 0, errors.abs() / naive, 0).sum())
        n_scaled += int(((naive > 0).squeeze(1) * steps_of_windows).sum())
        n_rows += n_steps // by_step.shape[1]
        # With a prediction at every step, all rows of a window count as its one step.
        in_steps = errors.reshape(-1, *by_step.shape[1:])
        by_step += torch.stack([in_steps.square().sum(dim=0), in_steps.abs().sum(dim=0)])
    return Score(
        squared / n_numbers,
        absolute / n_numbers,
        StepErrors(*(by_step / n_rows).numpy()),
        relative / n_numbers,
        scaled / n_scaled if n_scaled else nan,
    )


def _pieces(dataset: WindowDataset, chosen: Tensor | None = None) -> Iterator[Tensor]:
    windows = torch.arange(len(dataset)) if chosen is None else chosen
    return iter(windows.split(_WINDOWS_AT_ONCE))
