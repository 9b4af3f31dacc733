from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.files import load_tables
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError

Write = Callable[..., Path]

# Two series whose rows alternate, each with times of its own.
LONG = """date,id,a
2020-01-05,north,1
2020-01-01,south,10
2020-01-06,north,2
2020-01-02,south,20
2020-01-03,south,30
"""


def values_of(tables: list[Table]) -> dict[str, list[list[float]]]:
    return {table.name: table.values.tolist() for table in tables}


def error_of(path: Path, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        load_tables(SeriesFile(path, **{"series_column": "id", **options}))
    return str(caught.value).removeprefix(f"data.path={path}: ")


def test_each_series_gets_its_rows_and_times(write: Write) -> None:
    north, south = load_tables(SeriesFile(write(LONG), series_column="id"))
    assert values_of([north, south]) == {"north": [[1], [2]], "south": [[10], [20], [30]]}
    assert north.columns == south.columns == ("a",)
    assert south.times is not None
    assert south.times.astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-01",
        "2020-01-02",
        "2020-01-03",
    ]


def test_without_a_series_column_a_file_is_one_series(write: Write) -> None:
    (table,) = load_tables(SeriesFile(write("a\n1\n2\n")))
    assert table.name == ""
    assert table.values.tolist() == [[1], [2]]


def test_numbers_and_spaces_make_names_too(write: Write) -> None:
    assert list(
        values_of(load_tables(SeriesFile(write("id,a\n7,1\n3,1\n7,2\n"), series_column="id")))
    ) == [
        "7",
        "3",
    ]
    spaced = write("id,a\nx ,1\nx,2\n")
    assert values_of(load_tables(SeriesFile(spaced, series_column="id"))) == {"x": [[1], [2]]}


def test_a_parquet_file_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "long.parquet"
    frame = pd.DataFrame({"id": ["x", "y", "x"], "a": [1.0, 2.0, 3.0]})
    frame.set_index(pd.RangeIndex(5, 8)).to_parquet(path)
    assert values_of(load_tables(SeriesFile(path, series_column="id"))) == {
        "x": [[1], [3]],
        "y": [[2]],
    }


def test_drop_leaves_rows_out_of_their_series_only(write: Write) -> None:
    path = write("date,id,a\n2020-01-01,x,1\n2020-01-01,y,\n2020-01-02,y,2\n")
    _, y = load_tables(SeriesFile(path, series_column="id", missing="drop"))
    assert y.values.tolist() == [[2]]
    assert np.asarray(y.times).astype("datetime64[D]").astype(str).tolist() == ["2020-01-02"]


def test_all_series_tell_together_how_dates_are_written(write: Write) -> None:
    path = write("date,id,a\n01/02/2020,x,1\n02/02/2020,x,2\n13/02/2020,y,3\n")
    x, y = load_tables(SeriesFile(path, series_column="id"))
    assert np.concatenate([x.times, y.times]).astype("datetime64[D]").astype(str).tolist() == [
        "2020-02-01",
        "2020-02-02",
        "2020-02-13",
    ]


def test_a_series_column_of_dates_is_not_taken_for_the_times(write: Write) -> None:
    path = write("day,date,a\n2020-01-01,2020-01-05,1\n2020-01-01,2020-01-06,2\n")
    (table,) = load_tables(SeriesFile(path, series_column="day"))
    assert np.asarray(table.times).astype("datetime64[D]").astype(str).tolist()[0] == "2020-01-05"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            "id,a\nx,1\ny,2\nx,\n",
            "series 'x': row 4, column 'a' is empty or NaN; correct it, or set "
            "data.missing=interpolate or data.missing=drop.",
        ),
        ("id,a\nx,1\n,2\n", "row 3, column 'id' is empty; every row must name its series there."),
        (
            "id,date,a\nx,2020-01-02,1\ny,2020-01-01,2\nx,2020-01-01,3\n",
            "series 'x': row 4 (date=2020-01-01) is earlier than row 2 (date=2020-01-02); sort the "
            "file by 'date'.",
        ),
        (
            "id,date,a\nx,2020-01-02,1\ny,2020-01-01,2\nx,2020-01-02,3\n",
            "series 'x': row 4 repeats the time of row 2, date=2020-01-02; keep one of them.",
        ),
        (
            "id,date,a\nx,2020-01-02,1\ny,soon,2\ny,2020-01-02,3\n",
            "series 'y': row 3, column 'date' holds 'soon', which is not a time; correct it",
        ),
        (
            "id,ts,a\nx,5,1\ny,3,2\nx,4,3\n",
            "series 'x': row 4 (ts=4) is earlier than row 2 (ts=5); sort the file by 'ts', or set "
            "data.time_column=none if 'ts' holds no times.",
        ),
    ],
)
def test_a_bad_cell_is_named_by_its_series_and_its_row_in_the_file(
    write: Write, content: str, problem: str
) -> None:
    assert error_of(write(content)).startswith(problem)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (
            "interpolate",
            "series 'y': column 'a' holds no number, so data.missing=interpolate cannot help; leave"
            " it out with data.columns or data.future.",
        ),
        (
            "drop",
            "series 'y': column 'a' holds no number, so data.missing=drop cannot help; leave it out"
            " with data.columns or data.future.",
        ),
    ],
)
def test_a_series_without_any_number_in_a_column_is_named(
    write: Write, missing: str, message: str
) -> None:
    assert error_of(write("id,a,b\nx,1,1\ny,,2\ny,,3\n"), missing=missing) == message


def test_drop_names_the_series_of_which_it_leaves_nothing(write: Write) -> None:
    message = error_of(write("id,a,b\nx,1,1\ny,,2\ny,3,\n"), missing="drop")
    assert message.startswith("data.missing=drop leaves none of the 2 rows of series 'y' (column")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"series_column": "Id"},
            "data.series_column=Id is not a column (did you mean 'id'?); use one of: date, id, a.",
        ),
        (
            {"time_column": "id"},
            "data.series_column=id is data.time_column too; name two columns, or leave "
            "data.series_column out if the file holds one series.",
        ),
        (
            {"columns": ["a", "id"]},
            "data.columns=id is the series column, which holds no values; leave it out, or name "
            "another series column with data.series_column.",
        ),
        (
            {"targets": "id"},
            "data.target=id is the series column, which holds no values; leave it out, or name "
            "another series column with data.series_column.",
        ),
    ],
)
def test_names_at_odds_with_each_other_are_refused(
    write: Write, options: dict[str, object], message: str
) -> None:
    assert error_of(write(LONG), **options) == message


def test_a_long_file_needs_a_column_of_values(write: Write) -> None:
    assert error_of(write("date,id\n2020-01-01,x\n")) == (
        "data.path: there is no value column beside the time column 'date' and the series column "
        "'id'; give a file with at least one column of numbers."
    )


def test_ids_are_texts_whatever_numbers_or_marks_they_look_like(write: Write) -> None:
    ids = ["NA", "1e3", "1000", "007", "7", "nan", "null", "1.0", "True"]
    path = write("id,a\n" + "".join(f"{name},{n}\n" for n, name in enumerate(ids)))
    tables = load_tables(SeriesFile(path, series_column="id"))
    assert values_of(tables) == {name: [[n]] for n, name in enumerate(ids)}


def test_an_id_without_anything_is_still_empty(write: Write) -> None:
    for row in (",2", '"",2', " ,2"):
        assert error_of(write(f"id,a\nx,1\n{row}\n")).startswith("row 3, column 'id' is empty;")


def test_blank_lines_after_the_last_id_are_no_rows(write: Write) -> None:
    assert values_of(
        load_tables(SeriesFile(write("id,a\nx,1\nx,2\n\n\n"), series_column="id"))
    ) == {"x": [[1], [2]]}


def test_a_column_of_ids_does_not_change_how_others_are_read(write: Write) -> None:
    path = write("id,a\nx,NA\nx,2\nx,3\n")
    (table,) = load_tables(SeriesFile(path, series_column="id", missing="interpolate"))
    np.testing.assert_equal(table.values, [[np.nan], [2], [3]])
