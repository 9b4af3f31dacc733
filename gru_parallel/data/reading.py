"""Reads a CSV or Parquet file into a sheet of cells.

Knows files, not series: which columns count, and what they should hold, is decided elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_integer_dtype

from gru_parallel.data.csv_file import csv_pieces
from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.sheet import Sheet, check_names_differ, file_error, first_line
from gru_parallel.errors import UsageError

_PLAIN = CsvFormat()


def read_sheet(
    path: Path, csv_format: CsvFormat = _PLAIN, text_columns: Sequence[str] = ()
) -> Sheet:
    """Read the file.

    Args:
        path: a file that ends in .csv, .parquet or .pq; a ~ at its beginning is the home folder.
        csv_format: how its numbers, and if it is a CSV file its columns, are written.
        text_columns: columns whose cells are text, and never marks of missing values.

    Returns:
        Its cells, at least one row of them.

    Raises:
        UsageError: the file is missing, empty, of another kind, or damaged.
    """
    (sheet,) = read_pieces(path, csv_format, text_columns)
    return sheet


def read_pieces(
    path: Path,
    csv_format: CsvFormat = _PLAIN,
    text_columns: Sequence[str] = (),
    n_rows: int | None = None,
) -> Iterator[Sheet]:
    """Read the file piece by piece, so that it may be larger than memory; see `read_sheet`.

    Args:
        path: the file.
        csv_format: how it is written.
        text_columns: columns whose cells are text.
        n_rows: of a piece; None for all in one.

    Yields:
        Pieces, at least one, each with at least one row.
    """
    path = path.expanduser()
    suffix = path.suffix.lower()
    if path.is_dir():
        raise file_error(path, "is a folder; give the CSV or Parquet file in it.")
    if not path.exists():
        raise file_error(path, f"does not exist (looked in {path.absolute().parent}); correct it.")
    if suffix not in (".csv", ".parquet", ".pq"):
        raise file_error(path, "is of an unknown kind; give a file that ends in .csv or .parquet.")
    try:
        if suffix == ".csv":
            pieces = csv_pieces(path, csv_format, text_columns, n_rows)
        else:
            pieces = _parquet_pieces(path, csv_format, n_rows)
        for sheet in pieces:
            if sheet.frame.empty:
                raise file_error(
                    path,
                    "has no rows of values; give a CSV or Parquet file with at least one window.",
                )
            yield sheet
    except OSError as error:
        raise file_error(path, f"cannot be read ({first_line(error)}); check the file.") from error


def _parquet_pieces(path: Path, csv_format: CsvFormat, n_rows: int | None) -> Iterator[Sheet]:
    """The cells, with the index of the data frame that was written as columns before them."""
    first = 0
    try:
        for frame in _parquet_frames(path, n_rows):
            frame.columns = pd.Index([str(name).strip() for name in frame.columns])
            check_names_differ(path, list(frame.columns))
            index = _columns_of_index(frame)
            cells = pd.concat([index, frame.reset_index(drop=True)], axis=1)
            cells.index = pd.RangeIndex(first, first + len(cells))
            first += len(cells)
            yield Sheet(path, cells, 1, csv_format=csv_format, index_columns=tuple(index.columns))
    except ImportError as error:
        raise file_error(path, "needs pyarrow to be read; pip install pyarrow.") from error
    except (OSError, UsageError):
        raise
    except Exception as error:  # damaged bytes make pyarrow raise errors of any kind
        raise file_error(
            path, f"is not a Parquet file ({first_line(error)}); write it again."
        ) from error


def _parquet_frames(path: Path, n_rows: int | None) -> Iterator[pd.DataFrame]:
    if n_rows is None:
        yield pd.read_parquet(path)
        return
    # Not at the top: only some files need it.
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        whole = file.metadata.num_rows
        if whole == 0:
            yield file.read().to_pandas()
        index = _counted_index(file.schema_arrow.pandas_metadata, whole)
        first = 0
        for batch in file.iter_batches(n_rows):
            frame, end = batch.to_pandas(), first + len(batch)
            yield frame if index is None else frame.set_axis(index[first:end])
            first = end


def _counted_index(metadata: Mapping[str, Any] | None, n_rows: int) -> pd.RangeIndex | None:
    """The index that pandas writes as start and step alone, which no piece can give back."""
    for level in (metadata or {}).get("index_columns", ()):
        if isinstance(level, dict) and level.get("kind") == "range":
            index = pd.RangeIndex(level["start"], level["stop"], level["step"], name=level["name"])
            return index if len(index) == n_rows else None
    return None


def _columns_of_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The levels of the index that describe a row, usually by its time.

    Whole numbers without a name only count the rows of some frame. A level may also be among the
    columns, under the same name.
    """
    columns = {}
    for number, name in enumerate(frame.index.names):
        level = frame.index.get_level_values(number)
        if name is None and is_integer_dtype(level):
            continue
        wanted = f"index{number or ''}" if name is None else str(name).strip()
        if wanted not in frame.columns:
            columns[wanted] = level.to_series().reset_index(drop=True)
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))
