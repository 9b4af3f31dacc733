"""Means over all values, by step, and by series, target, step and method."""

import math

import numpy as np
import pytest

from gru_parallel.data.backtest_errors import (
    MAPE,
    BacktestError,
    BacktestErrors,
    OfValues,
)
from gru_parallel.data.percentage_errors import percentage_errors

METRICS = ("mse", "mae", "rmse", "mase", "coverage_80")
CAME = np.array([[[1.0], [0.0]], [[2.0], [4.0]]])
"""Two windows of two steps of one target."""
FORECAST = CAME + np.array([[[1.0], [2.0]], [[3.0], [2.0]]])


def measured(came: np.ndarray, forecast: np.ndarray) -> dict[str, OfValues]:
    """Measure what a model forecasts in units of 2, of whose values the first has no scale."""
    error, all_count = np.abs(forecast - came) / 2, np.ones(came.shape, dtype=bool)
    is_known = all_count.copy()
    is_known[0] = False
    return {
        "mse": (error**2, all_count),
        "mae": (error, all_count),
        "mase": (np.where(is_known, 8 * error, 0), is_known),
        MAPE: percentage_errors(came, forecast),
    }


def errors_of_two() -> BacktestErrors:
    errors = BacktestErrors(["x", "y"], ["a"], [1, 2], METRICS)
    inside = {"coverage_80": (np.array([[[1], [1]], [[1], [0]]]), np.ones(CAME.shape, dtype=bool))}
    errors.add("model", np.array([1, 1]), measured(CAME, FORECAST) | inside)
    errors.add("repeat_last", np.array([1, 1]), measured(CAME, CAME))
    return errors


def table_of(naive: float = 0.5) -> list[BacktestError]:
    table = errors_of_two().table(np.array([2.0]), np.array([[math.nan], [naive]]))
    return [row for row in table if row.method == "model"]


def test_errors_are_means_over_origins_in_both_units() -> None:
    first, second = table_of()

    assert (first.unique_id, first.target, first.step, first.n) == ("y", "a", 1, 2)
    errors = first.errors
    assert (errors["mse_in_units"], errors["mae_in_units"]) == ((1 + 9) / 2, 2)
    assert (errors["mse"], errors["mae"], errors["rmse"]) == (5 / 4, 1, math.sqrt(5 / 4))
    assert (second.step, second.errors["mae_in_units"]) == (2, 2)
    assert (errors["coverage_80"], second.errors["coverage_80"]) == (1, 0.5)


def test_what_does_not_count_is_left_out() -> None:
    assert [row.errors["mase"] for row in table_of()] == [12, 8]
    assert errors_of_two().overall()["model"]["mase"] == 10


def test_the_other_mase_is_relative_to_the_naive_error_of_the_history() -> None:
    assert [row.errors["mase_of_history"] for row in table_of()] == [4, 4]
    # A flat history.
    assert all(math.isnan(row.errors["mase_of_history"]) for row in table_of(naive=0.0))


def test_mape_leaves_out_a_truth_of_zero_and_counts_it() -> None:
    first, second = (row.errors for row in table_of())
    assert (first["mape"], first["zeros"]) == ((1 / 1 + 3 / 2) / 2, 0)
    assert (second["mape"], second["zeros"]) == (2 / 4, 1)


def test_all_rows_have_the_same_columns_and_a_baseline_has_no_intervals() -> None:
    rows = errors_of_two().table(np.array([2.0]), np.full((2, 1), math.nan))

    assert [row.method for row in rows] == ["model", "repeat_last"] * 2
    expected = [*METRICS, "mse_in_units", "mae_in_units", "mase_of_history", "mape", "zeros"]
    assert all(list(row.errors) == expected for row in rows)
    assert math.isnan(rows[1].errors["coverage_80"])


def test_all_series_and_targets_count_in_the_means() -> None:
    errors = BacktestErrors(["x", "y"], ["a", "b"], [1, 2], ("mse", "rmse"))
    squared = np.array([[[1.0, 2.0], [5.0, 6.0]], [[3.0, 4.0], [7.0, 8.0]]])
    all_count = np.ones(squared.shape, dtype=bool)
    # A piece with a window of each series, and one with another of the first.
    errors.add("model", np.array([0, 1]), {"mse": (squared, all_count)})
    errors.add("model", np.array([0]), {"mse": (squared[:1] * 10, all_count[:1])})

    by_step = errors.by_step()["model"]
    assert by_step["mse"].tolist() == [(10 + 30) / 6, (26 + 110) / 6]
    assert by_step["rmse"] == pytest.approx(np.sqrt(by_step["mse"]))
    # The root of the mean, not the mean of roots.
    assert errors.overall()["model"] == pytest.approx({"mse": 176 / 12, "rmse": (176 / 12) ** 0.5})


def test_nothing_known_is_nan_and_a_forecast_that_is_none_is_not_passed_over() -> None:
    errors = BacktestErrors(["x"], ["a"], [1], ("mse", "mase"))
    none, one = np.zeros((1, 1, 1), dtype=bool), np.ones((1, 1, 1), dtype=bool)
    errors.add("model", np.array([0]), {"mse": (np.zeros((1, 1, 1)), one), "mase": (none, none)})
    assert errors.overall()["model"]["mse"] == 0
    assert math.isnan(errors.overall()["model"]["mase"])
    errors.add("model", np.array([0]), {"mse": (np.full((1, 1, 1), math.nan), one)})
    assert math.isnan(errors.overall()["model"]["mse"])
