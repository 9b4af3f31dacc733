"""Calendar features are pandas' own, scaled by what they can be."""

import numpy as np
import pandas as pd
import pytest

from gru_parallel.choices import CALENDAR
from gru_parallel.data import SeriesDataModule, Table
from gru_parallel.data.calendar_features import calendar_features
from gru_parallel.errors import UsageError

LAST = {"minute": 59, "hour": 23, "dayofweek": 6, "day": 30, "dayofyear": 365, "week": 52} | {
    "month": 11,
    "quarter": 3,
    "is_weekend": 1,
}
FROM_ONE = ("day", "dayofyear", "week", "month", "quarter")


def of_pandas(times: pd.DatetimeIndex, name: str) -> np.ndarray:
    if name == "week":
        return times.isocalendar().week.to_numpy(dtype=float) - 1
    if name == "is_weekend":
        return (times.day_of_week >= 5).astype(float)
    of_pandas = name.replace("dayof", "day_of_")
    return np.asarray(getattr(times, of_pandas), dtype=float) - (name in FROM_ONE)


@pytest.mark.parametrize("name", CALENDAR)
def test_a_feature_is_that_of_pandas_from_its_first_value_to_its_last(name: str) -> None:
    # Leap years, weeks of the year before and after, and dates before 1970.
    times = pd.date_range("1959-12-25", "2033-01-10", freq="7h53min")
    (found,) = calendar_features(times.to_numpy(), [name]).T

    assert np.allclose(found, of_pandas(times, name) / LAST[name] - 0.5, atol=1e-12)
    assert (found.min(), found.max()) == (-0.5, 0.5)


def test_features_do_not_depend_on_the_other_rows_or_the_unit_of_the_times() -> None:
    times = pd.date_range("2024-02-26", periods=200, freq="h").to_numpy()
    names = ["dayofweek", "hour"]
    whole = calendar_features(times, names)

    assert np.array_equal(calendar_features(times[150:], names), whole[150:])
    assert np.array_equal(calendar_features(times.astype("datetime64[s]"), names), whole)
    assert whole[25].tolist() == [1 / 6 - 0.5, 1 / 23 - 0.5]


@pytest.mark.parametrize(("times", "has"), [(None, "no times"), (np.arange(30.0), "numbers")])
def test_series_without_dates_are_refused(times: np.ndarray | None, has: str) -> None:
    table = Table(times, np.zeros((30, 1)), ("a",), ("a",), "north")
    with pytest.raises(UsageError) as caught:
        SeriesDataModule(table, input_length=4, horizon=2, batch_size=8, calendar=["hour"])

    for words in ("series 'north': data.calendar=[hour]", has, "use data with dates"):
        assert words in str(caught.value)
