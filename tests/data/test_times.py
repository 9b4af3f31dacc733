from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.local_times import without_zone
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.time_formats import Reading, read_in
from gru_parallel.data.times import TimesOfPieces, check_times, read_times
from gru_parallel.errors import UsageError
from tests.grids import covering

Write = Callable[..., Path]


def sheet_of(times: object) -> Sheet:
    return Sheet(Path("series.csv"), pd.DataFrame({"when": times}), first_row=2)


def error_of(times: list[object]) -> str:
    sheet = sheet_of(times)
    with pytest.raises(UsageError) as caught:
        check_times(sheet, "when", read_times(sheet, "when"))
    return str(caught.value)


@pytest.mark.parametrize(
    "times",
    [
        ["2020-03-09 22:00:00", "2020-03-13 23:00:00"],
        ["2020-03-09T22:00:00Z", "2020-03-13T23:00:00Z"],
        ["03/09/2020 22:00", "03/13/2020 23:00"],
        ["09/03/2020 22:00", "13/03/2020 23:00"],
        ["09.03.2020 22:00", "13.03.2020 23:00"],
        ["2020-03-09T23:00:00+01:00", "2020-03-14T01:00:00+02:00"],
        pd.to_datetime(["2020-03-09 22:00", "2020-03-13 23:00"]),
        pd.to_datetime(["2020-03-09 23:00", "2020-03-14 00:00"]).tz_localize("Europe/Paris"),
    ],
)
def test_usual_ways_to_write_a_time_are_read(times: object) -> None:
    expected = np.array(["2020-03-09T22:00", "2020-03-13T23:00"], dtype="datetime64[s]")
    assert (read_times(sheet_of(times), "when") == expected).all()


def test_calendar_days_of_a_parquet_file_are_read() -> None:
    days = pd.Series(pd.to_datetime(["2020-03-09", "2020-03-13"])).dt.date
    expected = np.array(["2020-03-09", "2020-03-13"], dtype="datetime64[s]")
    assert (read_times(sheet_of(days), "when") == expected).all()


def test_a_cell_that_is_no_time_is_named() -> None:
    assert error_of(["2020-01-01", "2020-13-01"]) == (
        "data.path=series.csv: row 3, column 'when' holds '2020-13-01', which is not a time; "
        "correct it, or name another column, or none, with data.time_column."
    )


def test_a_row_without_a_time_is_named() -> None:
    assert error_of(["2020-01-01", None]).startswith(
        "data.path=series.csv: row 3, column 'when' is empty; correct it"
    )


def test_rows_out_of_order_are_named() -> None:
    assert error_of(["2020-01-01", "2020-01-03", "2020-01-02"]) == (
        "data.path=series.csv: row 4 (when=2020-01-02) is earlier than row 3 (when=2020-01-03); "
        "sort the file by 'when', or tell series apart by a column with data.series_column."
    )


def test_a_repeated_time_is_named() -> None:
    assert error_of(["2020-01-01", "2020-01-02", "2020-01-02 00:00"]) == (
        "data.path=series.csv: row 4 repeats the time of row 3, when=2020-01-02 00:00; "
        "keep one of them, or tell series apart by a column with data.series_column."
    )


def test_numbers_out_of_order_are_named() -> None:
    assert error_of([5, 4]) == (
        "data.path=series.csv: row 3 (when=4) is earlier than row 2 (when=5); sort the file by "
        "'when', tell series apart by a column with data.series_column, or set "
        "data.time_column=none if 'when' holds no times."
    )


def test_a_damaged_number_among_numbers_is_named() -> None:
    assert error_of(["1577836800", "soon", "1577844000"]).startswith(
        "data.path=series.csv: row 3, column 'when' holds 'soon', which is not a time; correct it"
    )


@pytest.mark.parametrize("good", ["2020-01-01", "2020/01/01", "2020.01.01"])
def test_one_damaged_date_does_not_swap_day_and_month_of_the_others(good: str) -> None:
    damaged = good.replace("01", "13", 1)
    assert f"row 3, column 'when' holds '{damaged}'" in error_of([good, damaged])


@pytest.mark.parametrize("step", ["1h", "15min"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney"])
def test_an_hour_that_comes_twice_is_not_to_be_sorted_or_left_out(step: str, zone: str) -> None:
    times = pd.date_range("2020-01-01", "2020-12-31", freq=step, tz=zone).tz_localize(None)

    said = error_of(times.strftime("%Y-%m-%d %H:%M").tolist())

    assert "write times in UTC, or with their offsets, if clocks were set back there" in said
    assert "sort" not in said
    assert "keep one" not in said


@pytest.mark.parametrize(
    ("times", "remedy"),
    [
        (["2020-01-01 00:00", "2020-01-01 00:00"], "keep one of them"),
        (["2020-01-01", "2020-01-02", "2020-01-02"], "keep one of them"),
        (["2020-01-01 05:00", "2020-01-01 06:00", "2020-01-01 03:00"], "sort the file"),
    ],
)
def test_other_times_that_do_not_ascend_are(times: list[object], remedy: str) -> None:
    assert remedy in error_of(times)


@pytest.mark.parametrize("zone", ["Z", "+00:00", " UTC", "-0800"])
def test_times_of_which_some_name_their_zone_are_refused(zone: str) -> None:
    message = error_of(["2020-01-01 00:00", f"2020-01-01 01:00{zone}", "2020-01-02"])
    assert f"'2020-01-01 01:00{zone}', with a time zone, and row" in message
    assert "'2020-01-01 00:00', without" in message


@covering(
    1,
    freq=["D", "W-MON", "MS", "B", "QS"],
    zone=["Europe/Berlin", "Asia/Tokyo", "America/New_York", "UTC"],
    form=[None, "%Y-%m-%d %H:%M:%S%z", "%d.%m.%Y %H:%M%z"],
    clock=["00:00", "06:00"],
)
def test_rows_of_a_day_or_more_are_read_as_clocks_of_their_zone_show_them(
    freq: str, zone: str, form: str | None, clock: str
) -> None:
    days = pd.date_range(f"2023-01-01 {clock}", periods=60, freq=freq)
    times = days.tz_localize(zone)
    sheet = sheet_of(times if form is None else times.strftime(form))

    read = read_times(sheet, "when")

    assert (read == days).all()


@pytest.mark.parametrize("form", [None, "%Y-%m-%d %H:%M:%S%z"])
def test_rows_of_several_times_a_day_are_read_in_utc(form: str | None) -> None:
    times = pd.date_range("2023-03-25", periods=60, freq="12h", tz="Europe/Berlin")
    sheet = sheet_of(times if form is None else times.strftime(form))

    assert (read_times(sheet, "when") == times.tz_convert(None)).all()


@pytest.mark.parametrize("form", [None, "%Y-%m-%d %H:%M:%S%z"])
def test_a_first_piece_of_one_moment_does_not_tell_that_rows_are_days(form: str | None) -> None:
    hours = pd.date_range("2023-01-01", periods=60, freq="h", tz="Europe/Berlin")
    sheet = sheet_of(hours if form is None else hours.strftime(form))
    first, rest = (sheet.part(rows, "") for rows in (np.arange(1), np.arange(1, 60)))
    times = TimesOfPieces("when", lambda: [(sheet, [np.arange(60)])])

    read = [times.read(first), times.read(rest)]

    assert (np.concatenate(read) == hours.tz_convert(None)).all()


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S%z", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M"])
def test_texts_are_not_read_a_second_time(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    n_read: list[int] = []

    def counted(text: "pd.Series[str]", form: str) -> Reading:
        n_read.append(len(text))
        return read_in(text, form)

    monkeypatch.setattr("gru_parallel.data.times.read_in", counted)
    hours = pd.date_range("2023-01-01", periods=5000, freq="h", tz="Europe/Berlin")

    assert (read_times(sheet_of(hours.strftime(form)), "when")[1:] > np.datetime64("2022")).all()

    # The first rows tell that they are none of days.
    assert sum(n_read) <= 1000


def test_each_time_of_many_series_is_read_once_on_its_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_read: list[int] = []

    def counted(text: "pd.Series[str]") -> "pd.Series[str]":
        n_read.append(len(text))
        return without_zone(text)

    monkeypatch.setattr("gru_parallel.data.times.without_zone", counted)
    days = pd.date_range("2023-01-01", periods=3, freq="D", tz="Asia/Tokyo")
    times = days.strftime("%Y-%m-%d %H:%M:%S%z").tolist() * 2000

    read = read_times(sheet_of(times), "when")

    assert (read == np.tile(days.tz_localize(None), 2000)).all()
    assert max(n_read) == 3


def pieces_of(times: pd.DatetimeIndex, form: str | None, n_first: int) -> list[Sheet]:
    sheet = sheet_of(times if form is None else times.strftime(form))
    return [sheet.part(rows, "") for rows in (np.arange(n_first), np.arange(n_first, len(times)))]


@pytest.mark.parametrize("form", [None, "%Y-%m-%d %H:%M:%S%z"])
def test_the_first_rows_tell_that_a_file_has_days(form: str | None) -> None:
    days = pd.date_range("2023-01-01", periods=300, freq="D", tz="Europe/Berlin")
    times = TimesOfPieces("when", lambda: map(pytest.fail, ["It is read again."]))

    read = [times.read(piece) for piece in pieces_of(days, form, 2)]

    assert (np.concatenate(read) == days.tz_localize(None)).all()


@pytest.mark.parametrize("form", [None, "%Y-%m-%d %H:%M:%S%z"])
def test_a_row_of_another_time_of_day_after_days_is_refused(form: str | None) -> None:
    days = pd.date_range("2023-01-01", periods=3, freq="D", tz="Europe/Berlin")
    hours = pd.date_range("2023-01-04", periods=3, freq="h", tz="Europe/Berlin")
    first, rest = pieces_of(days.append(hours), form, 3)
    times = TimesOfPieces("when")
    times.read(first)

    with pytest.raises(UsageError, match=r"row 6, column 'when' holds '2023-01-04 01:00:00\+01"):
        times.read(rest)


@pytest.mark.parametrize("form", [None, "%Y-%m-%d %H:%M:%S%z"])
def test_hours_after_days_whose_zone_is_utc_are_read_in_utc(form: str | None) -> None:
    days = pd.date_range("2023-01-01", periods=3, freq="D", tz="UTC")
    hours = pd.date_range("2023-01-04", periods=30, freq="h", tz="UTC")
    times = TimesOfPieces("when")

    read = [times.read(piece) for piece in pieces_of(days.append(hours), form, 3)]

    assert (np.concatenate(read) == days.append(hours).tz_localize(None)).all()


def test_times_of_a_parquet_file_without_a_zone_need_no_second_look() -> None:
    days = pd.date_range("2023-01-01", periods=3, freq="D")
    times = TimesOfPieces("when", lambda: map(pytest.fail, ["It is read again."]))

    assert (times.read(sheet_of(days[:1])) == days[:1]).all()


@pytest.mark.parametrize("last", [[196608], [196608, 196609, 196610], [20200101]])
def test_a_counter_stays_one_where_its_last_piece_looks_like_dates(last: list[int]) -> None:
    times = TimesOfPieces("when")
    times.read(sheet_of([0, 1, 2]))
    assert times.read(sheet_of(last)).tolist() == last


def test_whole_numbers_that_are_dates_stay_dates_in_later_pieces() -> None:
    times = TimesOfPieces("when")
    times.read(sheet_of([202011, 202012]))
    assert times.read(sheet_of([202101])).astype("datetime64[M]").tolist() == [date(2021, 1, 1)]
    with pytest.raises(UsageError, match="holds '202113', which is not of the kind"):
        times.read(sheet_of([202113]))
