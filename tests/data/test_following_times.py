"""Times go on at the step that a series has had."""

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.following_times import following

DAYS = pd.to_datetime(["2024-01-15", "2024-02-15", "2024-03-15"])


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (
            pd.date_range("2024-01-01 22:00", periods=3, freq="h"),
            ["2024-01-02T01", "2024-01-02T02"],
        ),
        (pd.date_range("2024-01-31", periods=3, freq="ME"), ["2024-04-30", "2024-05-31"]),
        (pd.date_range("2024-01-01", periods=9, freq="B"), ["2024-01-12", "2024-01-15"]),
        (DAYS, ["2024-04-15", "2024-05-15"]),
        (
            pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-04"]),
            ["2024-01-05T12", "2024-01-07"],
        ),
    ],
)
def test_dates_go_on(times: pd.DatetimeIndex, expected: list[str]) -> None:
    found = following(times.to_numpy(), 2)

    assert found.dtype == times.to_numpy().dtype
    assert found.tolist() == np.array(expected, times.to_numpy().dtype).tolist()


def test_numbers_and_a_step_that_one_gives_go_on() -> None:
    assert following(np.array([0.5, 1.0, 1.5]), 2).tolist() == [2.0, 2.5]
    assert following(np.array([7]), 2, "3").tolist() == [10, 13]
    day = np.array(["2024-01-10"], "datetime64[ns]")
    assert following(day, 1, "MS").tolist() == [np.datetime64("2024-02-01", "ns").astype(int)]
