"""Reads a CSV or Parquet file into a sheet of cells.

Knows files, not series: which columns count, and what they should hold, is decided elsewhere.
"""

from pathlib import Path

from gru_parallel.data.csv_file import read_csv
from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.parquet_file import read_parquet
from gru_parallel.data.sheet import Sheet, file_error, first_line

_PARQUET_SUFFIXES = (".parquet", ".pq")
_PLAIN = CsvFormat()


def read_sheet(path: Path, csv_format: CsvFormat = _PLAIN, text_column: str | None = None) -> Sheet:
    """Read the file.

    Args:
        path: a file that ends in .csv, .parquet or .pq; a ~ at its beginning is the home folder.
        csv_format: how it is written, if it is a CSV file.
        text_column: a column whose cells are names, and never numbers or marks of missing values.

    Returns:
        Its cells, at least one row of them.

    Raises:
        UsageError: the file is missing, empty, of another kind, or damaged.
    """
    path = path.expanduser()
    suffix = path.suffix.lower()
    if path.is_dir():
        raise file_error(path, "is a folder; give the CSV or Parquet file in it.")
    if not path.exists():
        raise file_error(path, f"does not exist (looked in {path.absolute().parent}); correct it.")
    if suffix != ".csv" and suffix not in _PARQUET_SUFFIXES:
        raise file_error(path, "is of an unknown kind; give a file that ends in .csv or .parquet.")
    try:
        if suffix == ".csv":
            sheet = read_csv(path, csv_format, text_column)
        else:
            sheet = read_parquet(path, csv_format)
    except OSError as error:
        raise file_error(path, f"cannot be read ({first_line(error)}); check the file.") from error
    if sheet.frame.empty:
        raise file_error(
            path, "has no rows of values; give a CSV or Parquet file with a window of them or more."
        )
    return sheet
