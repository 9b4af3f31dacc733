"""Which columns are found to say when each row was, and what is made of several of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.blocks import read_blocks
from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.files import load_tables
from gru_parallel.data.reading import read_sheet
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.time_columns import find_time_columns
from gru_parallel.data.times import read_times
from gru_parallel.errors import UsageError
from tests.data.tables import load_table

Write = Callable[..., Path]


def test_the_first_column_of_dates_is_found(write: Write) -> None:
    sheet = read_sheet(write("a,place,when,also\n1,north,2020-01-01,2020-01-01\n"))
    assert find_time_columns(sheet, None, taken=()) == ("when",)


def test_a_column_that_is_wanted_as_values_is_not_found(write: Write) -> None:
    sheet = read_sheet(write("a,when\n1,2020-01-01\n"))
    assert find_time_columns(sheet, None, taken=["when"]) == ()


def test_a_file_without_dates_has_no_time_column(write: Write) -> None:
    sheet = read_sheet(write("year,place\n2020,north\n2021,south\n"))
    assert find_time_columns(sheet, None, taken=()) == ()


def test_a_column_with_one_damaged_date_is_still_found(write: Write) -> None:
    sheet = read_sheet(write("when,a\n2020-01-01,1\nyesterday,2\n2020-01-03,3\n"))
    assert find_time_columns(sheet, None, taken=()) == ("when",)


@pytest.mark.parametrize("name", ["time", "Timestamp", "DATE", "date_time", "Unix Time", "ts"])
def test_numbers_are_times_if_they_are_called_so(write: Write, name: str) -> None:
    sheet = read_sheet(write(f"a,{name},epoch\n1,1577836800,1\n2,1577840400,2\n"))
    assert find_time_columns(sheet, None, taken=()) == (name,)
    assert read_times(sheet, name).tolist() == [1577836800.0, 1577840400.0]


def test_a_column_of_dates_goes_before_one_that_is_called_so(write: Write) -> None:
    sheet = read_sheet(write("time,day,a\n23,2020-01-01,1\n0,2020-01-02,2\n"))
    assert find_time_columns(sheet, None, taken=()) == ("day",)


def test_a_column_called_so_that_is_wanted_as_values_is_not_found(write: Write) -> None:
    sheet = read_sheet(write("time,a\n23,1\n0,2\n"))
    assert find_time_columns(sheet, None, taken=["time"]) == ()


def test_none_is_for_a_file_without_times(write: Write) -> None:
    sheet = read_sheet(write("time,a\n23,1\n0,2\n"))
    assert find_time_columns(sheet, "none", taken=()) == ()
    sheet = read_sheet(write("none,a\n1,1\n2,2\n"))
    assert find_time_columns(sheet, "none", taken=()) == ("none",)


def test_numbers_that_could_be_years_are_not_taken_for_dates(write: Write) -> None:
    sheet = read_sheet(write("a\n2020\n1999\nx\n"))
    assert find_time_columns(sheet, None, taken=()) == ()


def test_the_named_column_is_taken_even_if_it_is_numeric(write: Write) -> None:
    sheet = read_sheet(write("year,a\n2020,1\n2021,2\n"))
    assert find_time_columns(sheet, "year", taken=()) == ("year",)
    assert read_times(sheet, "year").tolist() == [2020.0, 2021.0]


def test_an_unknown_time_column_is_refused(write: Write) -> None:
    sheet = read_sheet(write("Date,a\n2020-01-01,1\n"))
    with pytest.raises(UsageError) as caught:
        find_time_columns(sheet, "date", taken=())
    assert str(caught.value) == (
        "data.time_column=date is not a column (did you mean 'Date'?); use one of: Date, a."
    )


@pytest.mark.parametrize("name", ["ds", "time_idx", "timestep", "Time Index", "unix_timestamp"])
def test_names_that_libraries_of_the_field_use_are_known(write: Write, name: str) -> None:
    table = load_table(write(f"{name},a\n1,5\n2,3\n3,8\n"))
    assert table.columns == table.targets == ("a",)


TWO = """date,time,a
2020-01-01,22:00,1
2020-01-01,23:00,2
2020-01-02,00:00,3
"""


def hours_of(path: Path, **options: Any) -> list[str]:
    times = np.asarray(load_table(path, columns=["a"], **options).times)
    return times.astype("datetime64[m]").astype(str).tolist()


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("date,time", ["2020-01-01,22:00", "2020-01-01,23:00", "2020-01-02,00:00"]),
        ("date,time", ["01/01/2020,10:00 PM", "01/01/2020,11:00 PM", "01/02/2020,12:00 AM"]),
        ("date,hour", ["1.1.20,22", "1.1.20,23", "2.1.20,0"]),
        ("date,hhmm", ["20200101,2200", "20200101,2300", "20200102,0000"]),
        ("date,time", ["2020-01-01,22:00", "2020-01-01,23:00", "2020-01-01,24:00"]),
        ("date,hour", ["1.1.20,22", "1.1.20,23", "1.1.20,24"]),
        ("date,hhmm", ["20200101,2200", "20200101,2300", "20200101,2400"]),
        ("year,month,day,hour", ["2020,1,1,22", "2020,1,1,23", "2020,1,2,0"]),
        ("Day,Year,Month,Hour", ["1,2020,1,22", "1,2020,1,23", "2,2020,1,0"]),
    ],
)
def test_several_columns_together_say_when_a_row_was(
    write: Write, columns: str, rows: list[str]
) -> None:
    path = write(f"{columns},a\n" + "".join(f"{row},{n}\n" for n, row in enumerate(rows)))
    expected = ["2020-01-01T22:00", "2020-01-01T23:00", "2020-01-02T00:00"]
    assert hours_of(path, time_column=columns.split(",")) == expected


@pytest.mark.parametrize("n_rows", [7, 8, 1000])
def test_minutes_after_midnight_are_no_hours_where_other_numbers_have_four_digits(
    n_rows: int, write: Write
) -> None:
    times = pd.date_range("2020-01-01", periods=193, freq="15min")
    rows = [f"{time:%Y-%m-%d},{time.hour * 100 + time.minute},{time.minute}" for time in times]
    file = SeriesFile(write("\n".join(["day,hhmm,a", *rows])), time_column=["day", "hhmm"])

    (table,) = load_tables(file)
    pieces = [block.times for block in read_blocks(file, n_rows) if block.times is not None]

    assert table.times is not None
    assert table.times.tolist() == np.concatenate(pieces).tolist()
    assert (table.times == times.to_numpy()).all()


def test_days_and_times_of_day_of_a_parquet_file_go_together(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    times = pd.Series(pd.date_range("2020-01-01 22:00", periods=3, freq="h"))
    days = times.dt.normalize()
    pd.DataFrame({"d": days, "t": times.dt.time, "a": [1.0, 2, 3]}).to_parquet(path)
    assert hours_of(path, time_column=["d", "t"])[1:] == ["2020-01-01T23:00", "2020-01-02T00:00"]


def test_columns_of_times_hold_no_values(write: Write) -> None:
    assert load_table(write(TWO), time_column=["date", "time"]).columns == ("a",)
    with pytest.raises(UsageError, match=r"data\.target=time is the time column"):
        load_table(write(TWO), time_column=["date", "time"], targets="time")


def test_rows_out_of_order_are_named_with_date_and_time(write: Write) -> None:
    path = write(TWO.replace("23:00", "21:00"))
    with pytest.raises(UsageError) as caught:
        load_table(path, time_column=["date", "time"])
    assert str(caught.value).startswith(
        f"data.path={path}: row 3 (date time=2020-01-01 21:00) is earlier than row 2 (date time="
        "2020-01-01 22:00);"
    )


@pytest.mark.parametrize("times", ["22:00,23:00,00:00", "22,23,0", "10 PM,11 PM,12 AM"])
def test_the_message_about_repeated_dates_says_how_to_name_both_columns(
    write: Write, times: str
) -> None:
    first, second, third = times.split(",")
    path = write(
        f"date,time,a\n2020-01-01,{first},1\n2020-01-01,{second},2\n2020-01-02,{third},3\n"
    )
    with pytest.raises(UsageError) as caught:
        load_table(path)
    assert "row 3 repeats the time of row 2, date=2020-01-01; set data.time_column=[date,time]" in (
        str(caught.value)
    )


def test_the_message_about_a_time_of_day_says_so_too(write: Write) -> None:
    with pytest.raises(UsageError) as caught:
        load_table(write("date,at,a\n2020-01-01,13:00,1\n2020-01-02,13:00,2\n"))
    assert (
        "holds '13:00', a time of day; name it beside the date, as in data.time_column=[date"
        in (str(caught.value))
    )


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ([], "data.time_column=[] names no column"),
        (["date", "tim"], "data.time_column=tim is not a column (did you mean 'time'?)"),
        (["date", "date"], "data.time_column names 'date' twice"),
        (["date", "time", "b"], "names 3 columns; give date and time of day, as [date,time], or"),
        (["month", "day"], "names no year; add its column, or a date"),
    ],
)
def test_columns_that_make_no_time_are_refused(
    write: Write, columns: list[str], problem: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_table(
            write("date,time,month,day,a,b\n2020-01-01,22:00,1,1,1,1\n"), time_column=columns
        )
    assert problem in str(caught.value)


def test_columns_called_year_month_and_day_say_together_when_a_row_was(write: Write) -> None:
    hours = "".join(f"2020,1,1,{hour},{hour}.5\n" for hour in range(4))
    table = load_table(write("year,month,day,hour,a\n" + hours))

    assert table.columns == ("a",)
    assert table.times is not None
    assert [str(time)[:16] for time in table.times[:2]] == ["2020-01-01T00:00", "2020-01-01T01:00"]


def test_a_repeated_date_beside_a_time_with_points_is_told_to_name_both(write: Write) -> None:
    rows = "01/01/2020;18.00.00;1\n01/01/2020;19.00.00;2\n"
    with pytest.raises(UsageError, match=r"set data\.time_column=\[Date,Time\]"):
        load_table(write("Date;Time;a\n" + rows), csv_format=CsvFormat(separator=";"))
