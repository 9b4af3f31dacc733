from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError
from tests.data.tables import load_table

Write = Callable[..., Path]

SERIES = "date,a,b\n2020-01-01,1,10\n2020-01-02,2,20\n2020-01-03,4,40\n"


def test_a_csv_file_becomes_a_table(write: Write) -> None:
    table = load_table(write(SERIES), targets="b")
    assert table.values.tolist() == [[1, 10], [2, 20], [4, 40]]
    assert table.values.dtype == np.float64
    assert table.columns == ("a", "b")
    assert table.targets == ("b",)
    assert table.target_columns == (1,)
    assert table.n_rows == 3
    assert table.times is not None
    assert table.times.astype("datetime64[D]").astype(str).tolist()[2] == "2020-01-03"


def test_csv_and_parquet_give_the_same_table(write: Write, tmp_path: Path) -> None:
    from_csv = load_table(write(SERIES))
    pd.DataFrame({"date": from_csv.times, "a": [1, 2, 4], "b": [10.0, 20.0, 40.0]}).to_parquet(
        tmp_path / "series.parquet"
    )
    from_parquet = load_table(tmp_path / "series.parquet")
    assert from_parquet.columns == from_csv.columns
    assert (from_parquet.values == from_csv.values).all()
    assert (np.asarray(from_parquet.times) == np.asarray(from_csv.times)).all()


def test_a_series_without_times_is_read(write: Write) -> None:
    table = load_table(write("a\n3\n1\n2\n"))
    assert table.times is None
    assert table.values.tolist() == [[3], [1], [2]]


def test_numeric_times_go_in_as_times_and_not_as_values(write: Write) -> None:
    table = load_table(write("timestamp,a,b\n1577836800,1,10\n1577840400,2,20\n"))
    assert table.columns == table.targets == ("a", "b")
    assert np.asarray(table.times).tolist() == [1577836800, 1577840400]


@pytest.mark.parametrize("options", [{"columns": ["time", "a"]}, {"time_column": "none"}])
def test_a_measured_time_can_be_had_as_values(write: Write, options: dict[str, Any]) -> None:
    table = load_table(write("time,a\n23,1\n0,2\n"), **options)
    assert table.times is None
    assert table.values.tolist() == [[23, 1], [0, 2]]


def test_columns_that_are_not_used_may_hold_anything(write: Write) -> None:
    path = write("date,a,note\n2020-01-01,1,storm\n2020-01-02,2,\n")
    assert load_table(path, columns=["a"]).values.tolist() == [[1], [2]]


def test_numbers_are_read_to_the_last_digit(write: Write) -> None:
    text = "0.1234567890123456789"
    assert load_table(write(f"a\n{text}\n")).values[0, 0] == float(text)


def test_drop_takes_the_times_of_the_dropped_rows_along(write: Write) -> None:
    path = write("date,a\n2020-01-01,1\n2020-01-02,NA\n2020-01-03,3\n")
    table = load_table(path, missing="drop")
    assert table.values.tolist() == [[1], [3]]
    assert table.times is not None
    assert table.times.astype("datetime64[D]").astype(str).tolist() == ["2020-01-01", "2020-01-03"]


def test_interpolate_keeps_every_row_and_leaves_the_gap_to_be_filled(write: Write) -> None:
    path = write("date,a\n2020-01-01,1\n2020-01-02,n/a\n2020-01-03,3\n")
    values = load_table(path, missing="interpolate").values
    np.testing.assert_equal(values, [[1], [np.nan], [3]])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("date,a\n2020-01-01,1\n2020-01-02,NA\n", "row 3, column 'a' is empty or NaN"),
        ("date,a\n2020-01-01,1\n2020-01-02\n", "row 3, column 'a' is empty or NaN"),
        ("date,a\n2020-01-01,1\n\n2020-01-03,3\n", "row 3, column 'date' is empty"),
        ("date,a\n2020-01-01,1\n2020-01-02,-inf\n", "row 3, column 'a' is infinite (-inf)"),
        ("date,a\n2020-01-01,1e999\n", "row 2, column 'a' is infinite (inf)"),
        ("date,a\n2020-01-01,1\n2020-01-02,x\n", "row 3, column 'a' holds 'x'"),
        ('date,a\n2020-01-01,"1,5"\n', "row 2, column 'a' holds '1,5'"),
        ("date,a\n2020-01-01,1\n2020-01-01,2\n", "row 3 repeats the time of row 2"),
        ("date,a\n2020-01-02,1\n2020-01-01,2\n", "row 3 (date=2020-01-01) is earlier than row 2"),
        ("timestamp,a\n1577840400,1\n1577836800,2\n", "row 3 (timestamp=1577836800) is earlier"),
        ("a,time\n1,7\n2,7\n", "row 3 repeats the time of row 2, time=7; keep one of them"),
        (
            "time,a\nmorning,1\nnoon,2\n",
            "row 2, column 'time' holds 'morning', which is not a time",
        ),
        ("ts,a\n1,1\nsoon,2\n3,3\n", "row 3, column 'ts' holds 'soon', which is not a time"),
    ],
)
def test_a_bad_cell_is_named_by_its_row_in_the_file(
    write: Write, content: str, problem: str
) -> None:
    path = write(content)
    with pytest.raises(UsageError) as caught:
        load_table(path)
    assert str(caught.value).startswith(f"data.path={path}: {problem}")


def test_the_rows_of_a_parquet_file_are_counted_from_one(tmp_path: Path) -> None:
    path = tmp_path / "series.parquet"
    pd.DataFrame({"a": [1.0, None]}).to_parquet(path)
    with pytest.raises(UsageError, match="row 2, column 'a' is empty or NaN"):
        load_table(path)


def test_etth1_is_read_whole(etth1: Table) -> None:
    assert etth1.values.shape == (17_420, 7)
    assert etth1.columns == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert etth1.times is not None
    assert etth1.times[0] == np.datetime64("2016-07-01T00:00")
