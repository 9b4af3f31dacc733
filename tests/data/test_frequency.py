"""Rows that are missing in time: counted in a warning, refused, or filled."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.datamodule import SeriesDataModule
from gru_parallel.data.files import load_tables
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.steps import steps_of
from gru_parallel.errors import DataWarning, UsageError
from tests.data.tables import load_table

Write = Callable[..., Path]

HOURS = pd.date_range("2020-01-01", periods=40, freq="h")
VALUES = [n * 7 % 11 for n in range(40)]
GONE = [5, 6, 20]


def lines(times: pd.DatetimeIndex | list[int], gone: list[int], prefix: str = "") -> str:
    rows = [f"{prefix}{t},{v}\n" for t, v in zip(times, VALUES, strict=False)]
    return "".join(row for n, row in enumerate(rows) if n not in gone)


def with_gaps(write: Write, times: pd.DatetimeIndex | list[int] = HOURS) -> Path:
    return write("date,a\n" + lines(times, GONE))


def warning_of(path: Path, **options: str) -> str:
    with pytest.warns(DataWarning) as caught:
        load_tables(SeriesFile(path, **options))
    (only,) = caught
    return str(only.message).removeprefix(f"data.path={path}: ")


def error_of(path: Path, **options: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_tables(SeriesFile(path, **options))
    return str(caught.value).removeprefix(f"data.path={path}: ")


def test_missing_rows_are_counted(write: Write) -> None:
    assert warning_of(with_gaps(write)) == (
        "3 rows are missing at a step of 1h, in 2 gaps, the first after row 6 (date=2020-01-01 "
        "04:00:00); windows span them as if they were not there. Set data.frequency=1h to refuse "
        "them or, with data.missing=interpolate, to fill them, or data.frequency=none to accept "
        "this."
    )


def test_numbers_are_counted_too(write: Write) -> None:
    message = warning_of(with_gaps(write, list(range(0, 4000, 100))))
    assert message.startswith("3 rows are missing at a step of 100, in 2 gaps, the first after ro")


def test_all_series_are_counted_in_one_warning(write: Write) -> None:
    text = lines(HOURS, GONE, "x,") + lines(HOURS, [], "y,") + lines(HOURS, [9], "z,")
    message = warning_of(write("id,date,a\n" + text), series_column="id")
    assert message.startswith(
        "series 'x': 4 rows are missing in 2 series at a step of 1h, in 3 gaps, the first after"
    )


@pytest.mark.parametrize("header", ["date,a\n", "a\n"])
def test_rows_that_are_left_out_are_counted(write: Write, header: str) -> None:
    rows = [f"{t},{v}" if "date" in header else f"{v}" for t, v in zip(HOURS, VALUES, strict=True)]
    rows[7] = rows[7].rpartition(",")[0] + ("," if "date" in header else "NA")
    message = warning_of(write(header + "\n".join(rows) + "\n"), missing="drop")
    assert message.startswith("1 row is missing")
    assert "the first after row 8" in message
    assert "data.missing=interpolate" in message


def test_of_a_clock_that_jitters_no_frequency_is_named(write: Write) -> None:
    message = warning_of(with_gaps(write, HOURS + pd.to_timedelta(np.arange(40) * 17 % 23, "s")))
    assert message.startswith("3 rows are missing, in 2 gaps, the first after row 6")
    assert message.endswith("Set data.frequency=none to accept this.")


def test_uneven_times_are_reported(write: Write) -> None:
    times = pd.to_datetime("2020-01-01") + pd.to_timedelta(np.cumsum(np.arange(40) ** 2), "min")
    assert warning_of(write("date,a\n" + lines(times, []))) == (
        "the rows are not evenly spaced (from row to row, date grows by 0 days 00:01:00 to 1 days "
        "01:21:00), and windows are made as if they were; set data.frequency=none to accept this."
    )


@pytest.mark.parametrize(
    "times",
    [
        HOURS,
        pd.date_range("2020-01-31", periods=40, freq="ME"),
        pd.date_range("2020-01-01", periods=40, freq="MS"),
        pd.date_range("2020-01-01", periods=40, freq="QS"),
        pd.date_range("1920-01-01", periods=40, freq="YS"),
        pd.date_range("2020-01-01", periods=40, freq="B"),
        pd.DatetimeIndex([pd.Timestamp(2020, 1, 15) + pd.DateOffset(months=n) for n in range(40)]),
        HOURS + pd.to_timedelta(np.arange(40) * 17 % 23, "s"),
    ],
    ids=["hours", "ends", "months", "quarters", "years", "business", "mid-month", "jitter"],
)
def test_steps_of_calendars_and_clocks_are_not_gaps(times: pd.DatetimeIndex, write: Write) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_table(write("date,a\n" + lines(times, [])))


@pytest.mark.parametrize("freq", ["h", "15min", "D", "MS", "ME", "B", "QS", "W"])
def test_the_frequency_that_is_named_fills_the_gaps(freq: str, write: Write) -> None:
    times = pd.date_range("2020-01-01", periods=40, freq=freq)
    path = with_gaps(write, times)
    named = warning_of(path).partition("data.frequency=")[2].split()[0]
    table = load_table(path, frequency=named, missing="interpolate")
    assert (np.asarray(table.times) == times.to_numpy()).all()
    expected = [np.nan if n in GONE else VALUES[n] for n in range(40)]
    np.testing.assert_equal(table.values[:, 0], expected)


def test_centuries_of_months_are_filled_too(write: Write) -> None:
    times = pd.date_range("1700-01-01", periods=3600, freq="MS")
    rows = "".join(f"{t:%Y-%m-%d},{n * 7 % 11}\n" for n, t in enumerate(times) if n != 9)
    table = load_table(write(f"date,a\n{rows}"), frequency="MS", missing="interpolate")
    assert table.n_rows == 3600


def test_numbers_are_filled_too(write: Write) -> None:
    path = with_gaps(write, list(range(7, 4007, 100)))
    table = load_table(path, frequency="100", missing="interpolate")
    assert np.asarray(table.times).tolist() == list(range(7, 4007, 100))
    assert np.flatnonzero(np.isnan(table.values[:, 0])).tolist() == GONE


def test_each_series_is_filled_from_its_first_row_to_its_last(write: Write) -> None:
    text = lines(HOURS, [0, 1, 4], "x,") + lines(HOURS, [39, 9], "y,")
    x, y = load_tables(
        SeriesFile(
            write("id,date,a\n" + text), series_column="id", frequency="1h", missing="interpolate"
        )
    )
    assert (x.n_rows, y.n_rows) == (38, 39)
    assert [np.flatnonzero(np.isnan(t.values[:, 0])).tolist() for t in (x, y)] == [[2], [9]]


def test_filling_shows_nothing_of_what_comes_later(write: Write) -> None:
    table = load_table(with_gaps(write), frequency="1h", missing="interpolate")
    data = SeriesDataModule(
        table, input_length=3, horizon=1, batch_size=4, split=[15, 12, 13], centre="none"
    )
    data.setup()
    values = data.inverse(data.dataset("validation")[3]["x"]).flatten().tolist()
    assert values == pytest.approx([VALUES[15 + 3 - 3 + n] for n in range(3)], abs=1e-5)
    # Row 20, which lies in the validation part, repeats row 19, and rows 5 and 6 repeat row 4.
    windows = data.dataset("validation")
    last = data.inverse(windows[6]["x"]).flatten().tolist()
    assert last == pytest.approx([VALUES[18], VALUES[19], VALUES[19]], abs=1e-5)
    training = data.inverse(data.dataset("training")[4]["x"]).flatten().tolist()
    assert training == pytest.approx([VALUES[4]] * 3, abs=1e-5)


def test_missing_rows_are_refused_where_they_are_not_to_be_filled(write: Write) -> None:
    assert error_of(with_gaps(write), frequency="1h") == (
        "at data.frequency=1h 3 rows are missing, the first 2 after row 6 (date=2020-01-01 "
        "04:00:00); add them, or set data.missing=interpolate to have them filled."
    )


def test_a_complete_series_passes_with_its_frequency(write: Write) -> None:
    assert load_table(write("date,a\n" + lines(HOURS, [])), frequency="h").n_rows == 40


def test_none_accepts_gaps(write: Write) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_table(with_gaps(write), frequency="none").n_rows == 37


@pytest.mark.parametrize(
    ("frequency", "problem"),
    [
        ("2h", "row 3 (date=2020-01-01 01:00:00) is not a whole number of steps of data.frequency"),
        ("1s", "data.frequency=1s would make more than 10 rows of each that is there; use a longe"),
        ("YS", "row 3 (date=2020-01-01 01:00:00) is not a whole number of steps of data.frequency"),
        ("ME", "row 2 (date=2020-01-01 00:00:00) is not a whole number of steps of data.frequency"),
        ("often", "data.frequency=often is not a valid step of the dates in column 'date'; use on"),
        ("3600", "data.frequency=3600 is not a valid step of the dates in column 'date'; use one"),
        ("-1h", "data.frequency=-1h is not a valid step of the dates"),
        ("0h", "data.frequency=0h is not a valid step of the dates"),
    ],
)
def test_a_frequency_that_does_not_fit_is_refused(
    frequency: str, problem: str, write: Write
) -> None:
    for missing in ("error", "interpolate"):
        message = error_of(with_gaps(write), frequency=frequency, missing=missing)
        assert message.startswith(problem)


@pytest.mark.parametrize("frequency", ["1h", "0", "-5", "nan"])
def test_numbers_need_a_number_for_frequency(frequency: str, write: Write) -> None:
    assert error_of(with_gaps(write, list(range(40))), frequency=frequency) == (
        f"data.frequency={frequency} is not a valid step of the numbers in column 'date'; use a "
        "number above 0."
    )


def test_a_frequency_without_times_is_refused(write: Write) -> None:
    assert error_of(write("a\n1\n3\n"), frequency="1h") == (
        "data.frequency=1h is the step from time to time, and the file has no column of times; "
        "name it with data.time_column, or leave data.frequency out."
    )


def test_a_frequency_and_rows_to_leave_out_are_refused(write: Write) -> None:
    assert error_of(with_gaps(write), frequency="1h", missing="drop") == (
        "data.missing=drop leaves rows out, and data.frequency=1h asks for all of them; use "
        "data.missing=interpolate, or leave data.frequency out."
    )


@pytest.mark.parametrize("n", [0, 1])
def test_a_series_of_at_most_one_row_has_no_steps(n: int) -> None:
    assert len(steps_of(HOURS.to_numpy()[:n]).gaps) == 0
