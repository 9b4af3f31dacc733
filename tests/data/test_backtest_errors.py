"""Errors by series, target, step and method, and the definitions that packages do not agree on."""

import math

import numpy as np
import pytest

from gru_parallel.data.backtest_errors import BacktestError, BacktestErrors, naive_error

CAME = np.array([[[1.0], [0.0]], [[2.0], [4.0]]])
"""Two windows of two steps of one target."""


def table_of(naive: float = 0.5) -> list[BacktestError]:
    errors = BacktestErrors(["x", "y"], ["a"], [1, 2])
    errors.add("model", np.array([1, 1]), CAME, CAME + np.array([[[1.0], [2.0]], [[3.0], [2.0]]]))
    return errors.table(np.array([2.0]), np.array([[math.nan], [naive]]))


def test_errors_are_means_over_origins_in_both_units() -> None:
    first, second = table_of()

    assert first[:5] == ("y", "a", 1, "model", 2)
    assert (first.mse_in_units, first.mae_in_units) == ((1 + 9) / 2, 2)
    assert (first.mse, first.mae) == (first.mse_in_units / 4, first.mae_in_units / 2)
    assert (second.step, second.mae_in_units) == (2, 2)


def test_mase_is_relative_to_the_naive_error_of_the_history() -> None:
    assert [error.mase for error in table_of()] == [4, 4]
    # A flat history.
    assert all(math.isnan(error.mase) for error in table_of(naive=0.0))


def test_mape_leaves_out_a_truth_of_zero_and_counts_it() -> None:
    first, second = table_of()
    assert (first.mape, first.zeros) == ((1 / 1 + 3 / 2) / 2, 0)
    assert (second.mape, second.zeros) == (2 / 4, 1)


def test_the_naive_error_is_that_of_one_step_a_season_ahead() -> None:
    history = np.array([[0.0], [1.0], [4.0], [9.0]])
    assert naive_error(history, None) == pytest.approx([3])
    assert naive_error(history, 2) == pytest.approx([6])
    assert np.isnan(naive_error(history, 4)).all()
    assert naive_error(np.ones((5, 2)), 1).tolist() == [0, 0]


def test_errors_of_all_series_are_averaged_in_standardised_units() -> None:
    errors = BacktestErrors(["x", "y"], ["a", "b"], [1])
    came = np.zeros((2, 1, 2))
    errors.add("model", np.array([0, 1]), came, np.array([[[2.0, 10.0]], [[4.0, 30.0]]]))
    mean = errors.mean(np.array([2.0, 10.0]))["model"]
    assert mean["mae"] == pytest.approx([(1 + 2 + 1 + 3) / 4])
    assert mean["mse"] == pytest.approx([(1 + 4 + 1 + 9) / 4])
