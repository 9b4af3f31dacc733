"""A file that is read in pieces has the cells, and the row numbers, that it has as a whole."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.reading import read_pieces, read_sheet
from gru_parallel.errors import UsageError

Write = Callable[..., Path]
WITH_BLANKS = "id,a\n007,1\nNA,2\n,\n,\n08,3\n9,4\n,\n,\n,\n"


@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 100])
def test_blank_lines_count_unless_they_end_the_file(n_rows: int, write: Write) -> None:
    path = write(WITH_BLANKS)
    whole = read_sheet(path, CsvFormat(), ["id"])

    pieces = list(read_pieces(path, CsvFormat(), ["id"], n_rows))

    assert whole.frame["id"].dropna().tolist() == ["007", "NA", "08", "9"]
    joined = pd.concat([piece.frame for piece in pieces])
    assert joined["a"].dropna().tolist() == [1.0, 2.0, 3.0, 4.0]
    assert joined["id"].dropna().tolist() == whole.frame["id"].dropna().tolist()
    assert list(joined.index) == list(whole.frame.index) == list(range(6))
    assert pieces[-1].row(len(pieces[-1].frame) - 1) == 7


def test_a_row_that_is_too_long_is_refused_in_a_later_piece_too(write: Write) -> None:
    path = write("a,b\n1,2\n3,4\n5,6,7\n")

    with pytest.raises(UsageError, match="not a CSV file with 2 fields in every row"):
        list(read_pieces(path, CsvFormat(), (), 2))


@pytest.mark.parametrize("name", ["time", None])
def test_an_index_that_counts_goes_on_from_piece_to_piece(name: str | None, tmp_path: Path) -> None:
    index = pd.RangeIndex(1000, 1035, 5, name=name)
    path = tmp_path / "series.parquet"
    pd.DataFrame({"a": range(7)}, index=index).to_parquet(path)

    joined = pd.concat([piece.frame for piece in read_pieces(path, n_rows=3)])

    assert joined.equals(read_sheet(path).frame)
    assert name is None or joined["time"].tolist() == list(index)


def test_the_index_of_a_parquet_file_is_a_column_of_every_piece(tmp_path: Path) -> None:
    times = pd.date_range("2024-01-01", periods=7, freq="h", name="date")
    path = tmp_path / "series.parquet"
    pd.DataFrame({"a": range(7)}, index=times).to_parquet(path)

    pieces = list(read_pieces(path, n_rows=3))

    assert [piece.names for piece in pieces] == [["date", "a"]] * 3
    assert [piece.row(0) for piece in pieces] == [1, 4, 7]
    assert pd.concat([piece.frame for piece in pieces])["date"].tolist() == times.tolist()
