"""What a data frame's index becomes, and column names that only seem to differ."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data.files import load_tables
from gru_parallel.data.reading import read_sheet
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.errors import UsageError
from tests.data.tables import load_table

FRAME = pd.DataFrame(
    {"date": pd.date_range("2020-01-01", periods=6, freq="h"), "a": [1.0, 5, 2, 4, 3, 9]}
)


def written(frame: pd.DataFrame, folder: Path) -> Path:
    path = folder / "series.parquet"
    frame.to_parquet(path)
    return path


@pytest.mark.parametrize(
    "frame",
    [
        FRAME[FRAME.a != 2],
        pd.concat([FRAME[:3], FRAME[3:].reset_index(drop=True)]),
        FRAME.set_index(np.array([3, 9, 1, 4, 0, 7], dtype=np.uint8)),
    ],
    ids=["filtered", "concatenated", "shuffled"],
)
@pytest.mark.filterwarnings("ignore:.*missing at a step")
def test_row_numbers_are_no_column(frame: pd.DataFrame, tmp_path: Path) -> None:
    table = load_table(written(frame, tmp_path))
    assert table.columns == table.targets == ("a",)
    assert table.values[:, 0].tolist() == frame.a.tolist()


def test_an_index_that_is_a_column_too_is_read_once(tmp_path: Path) -> None:
    table = load_table(written(FRAME.set_index("date", drop=False), tmp_path))
    assert table.columns == ("a",)
    assert np.asarray(table.times).astype("datetime64[h]").tolist() == FRAME.date.tolist()


def test_the_keys_of_a_concatenation_tell_its_series_apart(tmp_path: Path) -> None:
    frame = pd.concat([FRAME, FRAME], keys=["north", "south"], names=["id", None])
    tables = load_tables(SeriesFile(written(frame, tmp_path), series_column="id"))
    assert [(table.name, table.columns) for table in tables] == [
        ("north", ("a",)),
        ("south", ("a",)),
    ]


@pytest.mark.parametrize("name", ["when", None])
def test_times_without_a_known_name_are_found_in_the_index(
    name: str | None, tmp_path: Path
) -> None:
    frame = FRAME.set_index("date").rename_axis(name)
    table = load_table(written(frame, tmp_path))
    assert table.columns == ("a",)
    assert table.times is not None


def test_an_index_of_numbers_holds_values_only_if_it_is_named_as_such(tmp_path: Path) -> None:
    path = written(FRAME.set_index(pd.Index([0.5, 1, 4, 2, 3, 9], name="depth")), tmp_path)
    assert load_table(path).columns == ("a",)
    assert load_table(path, columns=["a", "depth"]).columns == ("a", "depth")


def test_names_that_differ_in_blanks_alone_are_refused(tmp_path: Path) -> None:
    path = written(pd.DataFrame([[1.0, 2.0]], columns=pd.Index(["load", "load "])), tmp_path)
    with pytest.raises(UsageError) as caught:
        read_sheet(path)
    assert str(caught.value) == (
        f"data.path={path} has more than one column named 'load', blanks around it aside; rename "
        "all but one."
    )
