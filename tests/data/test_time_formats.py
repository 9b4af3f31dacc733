"""Columns of times in one format: what pandas reads if it is told the format, is read untold."""

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.time_formats import format_of
from gru_parallel.data.times import check_times, read_times
from gru_parallel.errors import UsageError
from tests.data.test_times import sheet_of

HOURS = pd.date_range("2020-01-30 22:00", periods=60, freq="h")

FORMATS = [
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y %I:%M %p",
    "%Y-%m-%d %I:%M:%S %p",
    "%m/%d/%y %H:%M",
    "%d.%m.%y %H:%M",
    "%y-%m-%d %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%m-%d-%Y %H:%M",
    "%Y/%m/%d %H:%M:%S.%f",
    "%d-%b-%y %H:%M",
    "%d %B %Y %H:%M",
    "%b %d, %Y %I:%M %p",
    "%a %d %b %Y %H:%M",
    "%A, %d %b %Y %H:%M",
    "%d/%m/%Y, %H:%M",
    "%d/%m/%YT%H:%M",
    "%d/%m/%Y %I %p",
    "%d/%m/%Y %H:%M:%S+0000",
    "%Y%m%d %H:%M",
    "%d.%m.%Y %H.%M",
    "%d.%m.%Y %H.%M.%S",
    "%d/%m/%Y %Hh%M",
    "%d/%m/%Y %H:%M:%S,%f",
    "%d/%m/%Y %H:%M:%S UTC",
    "%Y-%m-%d %H:%M GMT",
    "%m/%d/%Y %I:%M %p +0000",
]

MONTHS = ["%m/%Y", "%Y/%m", "%Y-%m", "%b-%y", "%b %Y", "%B, %Y", "%d/%m/%Y", "%Y%m"]


def read(cells: object) -> list[object]:
    times = read_times(sheet_of(cells), "when")
    return np.asarray(times).astype("datetime64[s]").tolist()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("start", [0, 2, 14], ids=["evening", "midnight", "noon"])
def test_a_column_in_one_format_is_read_wherever_it_starts(form: str, start: int) -> None:
    times = HOURS[start:]
    assert read(times.strftime(form)) == times.to_pydatetime().tolist()


@pytest.mark.parametrize("form", [form for form in FORMATS if "%H" in form])
def test_a_day_may_end_at_24(form: str) -> None:
    texts = [
        time.strftime(form) if time.hour else (time - pd.Timedelta("1D")).strftime(form24)
        for form24 in [form.replace("%H", "24")]
        for time in HOURS
    ]
    assert read(texts) == HOURS.to_pydatetime().tolist()


@pytest.mark.parametrize("form", FORMATS)
def test_minutes_are_read_as_minutes(form: str) -> None:
    times = pd.date_range("2020-01-30 11:15", periods=100, freq="15min")
    if "%M" in form:
        assert read(times.strftime(form)) == times.to_pydatetime().tolist()


@pytest.mark.parametrize("form", MONTHS)
def test_months_are_read(form: str) -> None:
    times = pd.date_range("1990-05-01", periods=30, freq="MS")
    assert read(times.strftime(form)) == times.to_pydatetime().tolist()


@pytest.mark.parametrize("form", ["%m/%d/%y %H:%M", "%d/%m/%Y %I:%M %p", "%m/%d/%Y %H:%M:%S"])
def test_numbers_may_go_without_leading_zeros(form: str) -> None:
    cells = HOURS.strftime(form).str.replace(r"(?<![:\d])0(\d)", r"\1", regex=True)
    assert cells[2].startswith(("1/31/20", "31/1/20"))
    assert read(cells) == HOURS.to_pydatetime().tolist()


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d %b %Y %H:%M"])
@pytest.mark.parametrize("start", [0, 2], ids=["evening", "midnight"])
def test_midnight_may_have_lost_its_time_of_day(form: str, start: int) -> None:
    times = HOURS[start:]
    date = form.partition(" %H")[0]
    cells = [time.strftime(form if time.hour else date) for time in times]
    assert read(cells) == times.to_pydatetime().tolist()


@pytest.mark.parametrize(
    ("form", "times"),
    [
        ("%d/%m/%Y", pd.date_range("2020-01-01", periods=20, freq="MS")),
        ("%m/%d/%Y", pd.date_range("2020-01-01", periods=20, freq="MS")),
        ("%d/%m/%Y %H:%M", pd.date_range("2020-01-05", periods=60, freq="h")),
        ("%m/%d/%Y %H:%M", pd.date_range("2020-01-05", periods=60, freq="h")),
        ("%d/%m/%y %H:%M", pd.date_range("2020-01-05", periods=60, freq="h")),
        ("%y/%m/%d %H:%M", pd.date_range("2020-01-05", periods=60, freq="h")),
    ],
)
def test_of_two_ways_to_read_dates_the_more_even_is_taken(
    form: str, times: pd.DatetimeIndex
) -> None:
    assert read(times.strftime(form)) == times.to_pydatetime().tolist()


@pytest.mark.parametrize("freq", ["MS", "D"])
def test_dates_that_two_ways_read_alike_are_refused(freq: str) -> None:
    cells = pd.date_range("2020-02-01", periods=11, freq=freq).strftime("%d/%m/%Y")
    with pytest.raises(UsageError) as caught:
        read(cells)
    assert str(caught.value) == (
        "data.path=series.csv: column 'when' can be read in two ways, as %m/%d/%Y and as %d/%m/%Y "
        "(row 2 holds '01/02/2020'); write dates as 2020-01-31, or set data.time_column=none to go "
        "without."
    )


def test_the_steps_of_each_series_decide_and_not_those_between_series() -> None:
    hours = pd.date_range("2020-01-05 22:00", periods=60, freq="h")
    times = read_times(
        sheet_of([time.strftime("%d/%m/%Y %H:%M") for time in [*hours] * 2]),
        "when",
        [np.arange(60), np.arange(60, 120)],
    )
    assert (times == np.tile(hours.to_numpy(), 2)).all()


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([202012, 202101], ["2020-12", "2021-01"]),
        ([20200131, 20200201], ["2020-01-31", "2020-02-01"]),
        ([2020013123, 2020020100], ["2020-01-31T23:00", "2020-02-01T00:00"]),
        ([202001312345, 202002010000], ["2020-01-31T23:45", "2020-02-01T00:00"]),
    ],
)
def test_dates_written_as_whole_numbers_are_dates(numbers: list[int], expected: list[str]) -> None:
    times = read_times(sheet_of(numbers), "when")
    assert (times == np.array(expected, dtype="datetime64[s]")).all()


@pytest.mark.parametrize("numbers", [[1577836800, 1577840400], [2019, 2020], [1, 2], [20200131.5]])
def test_other_numbers_stay_numbers(numbers: list[float]) -> None:
    assert read_times(sheet_of(numbers), "when").tolist() == numbers


def test_a_cell_in_another_format_is_named_beside_one_of_the_others() -> None:
    sheet = sheet_of(["01/13/2020 10:00", "01/13/2020 11:00", "2020-01-13 12:00"])
    with pytest.raises(UsageError) as caught:
        check_times(sheet, "when", read_times(sheet, "when"))
    assert str(caught.value).startswith(
        "data.path=series.csv: row 4, column 'when' holds '2020-01-13 12:00', which is in "
        "another format than '01/13/2020 10:00' in row 2; correct it"
    )


@pytest.mark.parametrize("cell", ["13:00", "1:00 PM", "north", "12", "1.5", "2020-13-01", "5 km"])
def test_what_is_not_a_date_has_no_format(cell: str) -> None:
    assert format_of(cell) is None
