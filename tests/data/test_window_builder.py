"""Forecasts go on at the step of a series, also where a window is too short to show it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import DataWarning, UsageError
from tests.data.test_tails import cut, table
from tests.grids import covering

WEEK = WindowShape(5, 3)


@covering(2, n_days=range(36, 41), frequency=[None, "none", "B"], n_rows=[1, 7, 1000])
def test_a_week_from_monday_to_friday_is_followed_by_a_monday(
    n_days: int, frequency: str | None, n_rows: int, tmp_path: Path
) -> None:
    days = table(n_days + 3, freq="B")
    days.iloc[:n_days].to_csv(tmp_path / "a.csv", index=False)

    (window,) = cut(tmp_path / "a.csv", n_rows, shape=WEEK, frequency=frequency)

    assert window.times.tolist() == days["ds"].iloc[n_days:].tolist()


@pytest.mark.parametrize("n_rows", [1, 7, 1000])
def test_weekends_lie_between_days_also_at_cutoffs(n_rows: int, tmp_path: Path) -> None:
    days = table(40, freq="B")
    days.to_csv(tmp_path / "a.csv", index=False)
    friday, sunday = str(days["ds"].iloc[19])[:10], "2024-02-25"

    first, last = cut(tmp_path / "a.csv", n_rows, shape=WindowShape(2, 3), cutoffs=[friday, sunday])

    assert first.times.tolist() == days["ds"].iloc[20:23].tolist()
    assert first.known[:, 0].tolist() == days["a"].iloc[20:23].tolist()
    # No row is missing on a Sunday.
    assert [str(time)[:10] for time in last.times] == ["2024-02-26", "2024-02-27", "2024-02-28"]


def test_a_gap_counts_in_windows_alone(tmp_path: Path) -> None:
    days = table(38, freq="B")
    days.drop(index=[28]).to_csv(tmp_path / "a.csv", index=False)
    cut(tmp_path / "a.csv", shape=WEEK)
    with pytest.warns(DataWarning, match="1 row is missing at a step of B, in 1 gap"):
        cut(tmp_path / "a.csv", shape=WindowShape(12, 3))
    # A window with a gap of its own does not count the one before it.
    days.drop(index=[28, 35]).to_csv(tmp_path / "a.csv", index=False)
    said = "1 row is missing at a step of B, in 1 gap, the first after row 35 "
    with pytest.warns(DataWarning, match=said):
        cut(tmp_path / "a.csv", shape=WEEK)


@covering(1, freq=["h", "B", "ME", "7D"], n_rows=[1, 7, 1000])
def test_a_window_of_one_row_goes_on_at_the_step_of_its_series(
    freq: str, n_rows: int, tmp_path: Path
) -> None:
    rows = table(33, freq=freq)
    rows.iloc[:30].to_csv(tmp_path / "a.csv", index=False)

    (window,) = cut(tmp_path / "a.csv", n_rows, shape=WindowShape(1, 3))

    assert window.times.tolist() == rows["ds"].iloc[30:].tolist()


def test_of_one_row_with_a_time_the_step_has_to_be_said(tmp_path: Path) -> None:
    table(1).to_csv(tmp_path / "a.csv", index=False)
    shape = WindowShape(1, 2)

    with pytest.raises(UsageError, match=r"series 'file' has one row.* data.frequency=\.\.\."):
        cut(tmp_path / "a.csv", shape=shape)
    (window,) = cut(tmp_path / "a.csv", shape=shape, frequency="D")
    assert [str(time)[:10] for time in window.times] == ["2024-01-02", "2024-01-03"]


@pytest.mark.parametrize("n_rows", [1, 2])
def test_rows_without_times_are_counted_on(n_rows: int, tmp_path: Path) -> None:
    table(n_rows).drop(columns="ds").to_csv(tmp_path / "a.csv", index=False)

    (window,) = cut(tmp_path / "a.csv", shape=WindowShape(1, 2))

    assert window.times.tolist() == [n_rows, n_rows + 1]
    assert np.isnan(window.known).all()
    assert pd.api.types.is_integer_dtype(window.times.dtype)
