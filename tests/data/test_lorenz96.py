from typing import Any

import numpy as np
import pytest

from gru_parallel.data.lorenz96 import advance, lorenz96, lorenz96_table
from gru_parallel.errors import UsageError


def test_the_same_seed_gives_the_same_series() -> None:
    assert (lorenz96(50, 6, seed=3) == lorenz96(50, 6, seed=3)).all()


def test_another_seed_gives_another_series() -> None:
    assert not np.allclose(lorenz96(50, 6, seed=3), lorenz96(50, 6, seed=4))


def test_a_longer_series_begins_like_a_shorter_one() -> None:
    assert (lorenz96(50, 6, seed=3)[:20] == lorenz96(20, 6, seed=3)).all()


def test_rows_are_one_step_apart() -> None:
    series = lorenz96(3, 5, seed=0, forcing=9.0, dt=0.02)
    assert (advance(series[1], forcing=9.0, dt=0.02) == series[2]).all()


def test_a_small_step_follows_the_equation() -> None:
    x, dt, forcing = lorenz96(1, 5, seed=0)[0], 1e-6, 8.0
    stated = [(x[(i + 1) % 5] - x[i - 2]) * x[i - 1] - x[i] + forcing for i in range(5)]
    assert np.allclose((advance(x, forcing, dt) - x) / dt, stated, rtol=1e-3, atol=1e-3)


def test_the_error_of_a_step_is_of_fifth_order() -> None:
    x = lorenz96(1, 5, seed=0)[0]

    def error(dt: float) -> float:
        halves = advance(advance(x, 8.0, dt / 2), 8.0, dt / 2)
        return float(np.abs(advance(x, 8.0, dt) - halves).max())

    assert error(0.02) / error(0.01) == pytest.approx(2**5, rel=0.2)


def test_it_stays_bounded_and_has_no_season() -> None:
    series = lorenz96(2000, 8, seed=1)
    assert np.isfinite(series).all()
    assert np.abs(series).max() < 25
    assert series.std(axis=0).min() > 2


def test_the_table_names_its_channels() -> None:
    table = lorenz96_table(10, 4, seed=0, targets=("x2",))
    assert table.columns == ("x0", "x1", "x2", "x3")
    assert table.target_columns == (2,)
    assert table.times is None
    assert (table.values == lorenz96(10, 4, seed=0)).all()


def test_all_channels_are_targets_by_default() -> None:
    assert lorenz96_table(10, 4, seed=0).targets == ("x0", "x1", "x2", "x3")


def test_too_few_channels_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        lorenz96(10, 3, seed=0)
    assert str(caught.value) == "data.n_channels=3 is too few for Lorenz-96; use 4 or more."


def test_no_steps_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        lorenz96(0, 4, seed=0)
    assert str(caught.value) == "data.n_steps=0 is not a size; use a whole number of at least 1."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"forcing": float("nan")},
            "data.forcing=nan is not a finite number; use 8 for a chaotic series.",
        ),
        (
            {"forcing": float("inf")},
            "data.forcing=inf is not a finite number; use 8 for a chaotic series.",
        ),
        (
            {"dt": 5.0},
            "data.forcing=8 with data.dt=5 makes numbers grow without bounds; use a smaller "
            "data.dt, 0.05 for a forcing of 8.",
        ),
        (
            {"forcing": 1e6},
            "data.forcing=1e+06 with data.dt=0.05 makes numbers grow without bounds; use a "
            "smaller data.dt, 0.05 for a forcing of 8.",
        ),
        (
            {"dt": 0.0},
            "data.dt=0.0 is not a valid time between rows; use a number above 0, as 0.05.",
        ),
        (
            {"dt": -0.05},
            "data.dt=-0.05 is not a valid time between rows; use a number above 0, as 0.05.",
        ),
        (
            {"dt": float("nan")},
            "data.dt=nan is not a valid time between rows; use a number above 0, as 0.05.",
        ),
        (
            {"seed": -1},
            "data.seed=-1 is not a valid seed; use a whole number from 0 to 4294967295.",
        ),
    ],
)
def test_what_makes_no_series_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        lorenz96(10, 4, **{"seed": 0, **options})
    assert str(caught.value) == message
