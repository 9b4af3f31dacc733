from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from gru_parallel.data.baselines import Score, repeat_last, seasonal_naive
from gru_parallel.data.datamodule import SeriesDataModule
from gru_parallel.data.parts import SeriesPart
from gru_parallel.data.table import Table
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.data.windows import WindowDataset
from gru_parallel.errors import UsageError
from gru_parallel.step_errors import StepErrors


def score_of(mse: float, mae: float) -> Score:
    """Make a score for comparisons, which leave its steps out."""
    return Score(mse, mae, StepErrors(np.zeros((0, 0)), np.zeros((0, 0))))


def dataset_of(
    values: np.ndarray, shape: WindowShape, first_row: int = 0, centre: str = "none"
) -> WindowDataset:
    part = SeriesPart(range(first_row, len(values)))
    targets = range(values.shape[1])
    return WindowDataset(values, targets, [part], shape, centre=centre)


def test_repeat_last_of_a_straight_line_errs_by_the_lead() -> None:
    line = np.arange(50.0)[:, None]
    score = repeat_last(dataset_of(line, WindowShape(5, 3)))
    assert score == score_of(mse=(1 + 4 + 9) / 3, mae=(1 + 2 + 3) / 3)
    assert score.by_step.mse.tolist() == [[1], [4], [9]]
    assert score.by_step.mae.tolist() == [[1], [2], [3]]


def test_repeat_last_at_every_step_errs_by_the_horizon() -> None:
    line = np.arange(50.0)[:, None]
    score = repeat_last(dataset_of(line, WindowShape(5, 3, task="every_step")))
    assert score == score_of(mse=9, mae=3)
    assert (score.by_step.mse.tolist(), score.by_step.mae.tolist()) == ([[9]], [[3]])


@pytest.mark.parametrize("task", ["window", "every_step"])
@pytest.mark.parametrize("horizon", [1, 4, 5, 6, 13])
def test_seasonal_naive_of_a_season_makes_no_error(task: str, horizon: int) -> None:
    season = np.tile(np.random.default_rng(0).normal(size=(5, 2)), (20, 1))
    dataset = dataset_of(season, WindowShape(7, horizon, task), first_row=30)
    assert seasonal_naive(dataset, period=5) == score_of(0, 0)
    assert repeat_last(dataset).mse > 0 or horizon == 5


def test_a_season_may_be_longer_than_the_window() -> None:
    season = np.tile(np.random.default_rng(0).normal(size=(12, 1)), (10, 1))
    dataset = dataset_of(season, WindowShape(3, 4), first_row=60)
    assert seasonal_naive(dataset, period=12) == score_of(0, 0)


@pytest.mark.parametrize("period", [1, 4, 7])
@pytest.mark.parametrize("task", ["window", "every_step"])
def test_forecasts_are_the_newest_known_value_of_the_same_phase(period: int, task: str) -> None:
    """The vectorised score against one loop over windows, steps and targets."""
    values = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    length, horizon = 6, 9
    errors = []
    for end in range(40 if task == "window" else 40 + length - horizon, 60 - horizon + 1):
        for step in range(horizon if task == "window" else length):
            known = end - 1 if task == "window" else end - length + step
            row = end + step if task == "window" else known + horizon
            source = row
            while source > known:
                source -= period
            errors.append(values[source].astype(np.float64) - values[row])
    dataset = dataset_of(values, WindowShape(length, horizon, task), first_row=40)
    score = seasonal_naive(dataset, period)
    assert score.mse == pytest.approx(np.square(errors).mean(), rel=1e-12)
    assert score.mae == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    if period == 1:
        assert repeat_last(dataset) == score


def test_more_windows_than_are_scored_at_once_all_count() -> None:
    values = np.zeros((2000, 1))
    values[-1] = 1.0
    score = repeat_last(dataset_of(values, WindowShape(1, 1)))
    assert score == score_of(mse=1 / 1999, mae=1 / 1999)


@pytest.mark.parametrize("chosen", [[3, 4, 5], [7, 0, 12]])
def test_only_the_chosen_windows_are_scored(chosen: list[int]) -> None:
    values = np.random.default_rng(1).normal(size=(60, 2))
    shape = WindowShape(6, 3)
    dataset = dataset_of(values, shape, first_row=30)
    alone = [
        WindowDataset(values, range(2), [SeriesPart(range(30 + index, 33 + index))], shape)
        for index in chosen
    ]
    assert {len(window) for window in alone} == {1}

    for score in (repeat_last, partial(seasonal_naive, period=4)):
        found = score(dataset, chosen=torch.tensor(chosen))
        assert found.mse == pytest.approx(np.mean([score(window).mse for window in alone]))
        assert found.mae == pytest.approx(np.mean([score(window).mae for window in alone]))


def test_centring_changes_no_score() -> None:
    values = np.random.default_rng(1).normal(size=(60, 2))
    shape = WindowShape(6, 3)
    centred = dataset_of(values, shape, first_row=30, centre="last")
    plain = dataset_of(values, shape, first_row=30)
    assert repeat_last(centred) == repeat_last(plain)
    assert seasonal_naive(centred, 4) == seasonal_naive(plain, 4)


def test_a_season_that_reaches_before_the_series_is_refused() -> None:
    dataset = dataset_of(np.zeros((60, 1)), WindowShape(6, 3), first_row=20)
    with pytest.raises(UsageError) as caught:
        seasonal_naive(dataset, period=24)
    assert str(caught.value) == (
        "data.season_length=24 reaches back 4 rows to before the series began; use "
        "data.season_length <= 20, or a later part in data.split."
    )
    assert seasonal_naive(dataset, period=20) == score_of(0, 0)


def several_of(lengths: list[int], shape: WindowShape, values: np.ndarray) -> WindowDataset:
    starts = np.cumsum([0, *lengths]).tolist()
    parts = [SeriesPart(range(start, end), start, str(start)) for start, end in pairwise(starts)]
    return WindowDataset(values, range(values.shape[1]), parts, shape, centre="none")


@pytest.mark.parametrize("period", [1, 3, 5, 11])
@pytest.mark.parametrize("task", ["window", "every_step"])
@pytest.mark.parametrize("shortest", [None, 2])
def test_where_a_series_has_no_season_yet_its_last_value_is_repeated(
    period: int, task: str, shortest: int | None
) -> None:
    """The vectorised score against one loop over windows, steps and targets."""
    lengths, length, horizon = [13, 16], 6, 2
    values = np.random.default_rng(1).normal(size=(sum(lengths), 2)).astype(np.float32)
    errors = []
    for start, end_of_series in ((0, 13), (13, 29)):
        for end in range(start + (shortest or length), end_of_series - horizon + 1):
            n_inputs = min(length, end - start)
            for step in range(horizon if task == "window" else n_inputs):
                known = end - 1 if task == "window" else end - n_inputs + step
                row = end + step if task == "window" else known + horizon
                source = row
                while source > known:
                    source -= period
                if source < start:
                    source = known
                errors.append(values[source].astype(np.float64) - values[row])
    dataset = several_of(lengths, WindowShape(length, horizon, task, shortest), values)
    score = seasonal_naive(dataset, period)
    assert score.mse == pytest.approx(np.square(errors).mean(), rel=1e-12)
    assert score.mae == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    if period == 1:
        assert repeat_last(dataset) == score


def test_a_season_longer_than_every_series_is_refused() -> None:
    dataset = several_of([13, 16], WindowShape(6, 2), np.zeros((29, 1)))
    with pytest.raises(UsageError) as caught:
        seasonal_naive(dataset, period=16)
    assert str(caught.value) == (
        "data.season_length=16 reaches back to before its series began for every window; use a "
        "shorter season, or data.season_length=null."
    )
    assert seasonal_naive(dataset, period=15) == score_of(0, 0)


def test_a_season_of_no_length_is_refused() -> None:
    dataset = dataset_of(np.zeros((60, 1)), WindowShape(6, 3))
    with pytest.raises(UsageError, match=r"data\.season_length=0 is not a size"):
        seasonal_naive(dataset, period=0)


@pytest.mark.parametrize(
    ("horizon", "n_windows", "repeated", "seasonal"),
    [
        (96, 2785, (1.294, 0.713), (0.512, 0.433)),
        pytest.param(192, 2689, (1.325, 0.733), (0.581, 0.469), marks=pytest.mark.long),
        pytest.param(336, 2545, (1.330, 0.746), (0.650, 0.501), marks=pytest.mark.long),
        (720, 2161, (1.335, 0.755), (0.655, 0.514)),
    ],
)
def test_baselines_of_etth1_are_those_of_the_literature(
    etth1: Table,
    horizon: int,
    n_windows: int,
    repeated: tuple[float, float],
    seasonal: tuple[float, float],
) -> None:
    data = SeriesDataModule(
        etth1,
        input_length=96,
        horizon=horizon,
        batch_size=32,
        split=[8640, 2880, 2880],
        season_length=24,
    )
    assert len(data.dataset("test")) == n_windows
    scores = data.baselines()
    assert _rounded(scores["repeat_last"]) == repeated
    assert _rounded(scores["seasonal_naive"]) == seasonal


def _rounded(score: Score) -> tuple[float, float]:
    return round(score.mse, 3), round(score.mae, 3)
