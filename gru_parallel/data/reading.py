"""Reads a CSV or Parquet file into a data frame, and says plainly why one cannot be read.

Knows files, not series: which columns count, and what they should hold, is decided elsewhere.
"""

import csv
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from gru_parallel.errors import UsageError

_PARQUET_SUFFIXES = (".parquet", ".pq")
_OTHER_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_MARKUP = re.compile(r"\s*<(!doctype|!--|\?xml|html|head|body)", re.IGNORECASE)
_NUMBER_OR_DATE = r"\s*[-+]?\.?\d"


@dataclass(frozen=True)
class Sheet:
    """The cells of a file.

    Attributes:
        path: where they came from.
        frame: the cells, with the column names of the file; its index counts the rows of the file
            from 0.
        first_row: number that a user gives the first row of the file: 2 in a CSV file, whose
            first row is the header, 1 in a Parquet file.
        series: name of the series that these cells belong to; empty where the file is one series.
    """

    path: Path
    frame: pd.DataFrame
    first_row: int
    series: str = ""

    def row(self, position: int) -> int:
        """Number that a user gives the row at a position of `frame`."""
        return self.first_row + int(self.frame.index[position])

    def part(self, positions: NDArray[np.intp], series: str) -> "Sheet":
        """The rows at some positions, as the cells of one series."""
        return replace(self, frame=self.frame.iloc[positions], series=series)

    def error(self, problem: str) -> UsageError:
        """An error about a place in this file, ready to be raised."""
        where = f"series {self.series!r}: " if self.series else ""
        return _error(self.path, where + problem, joint=": ")


def read_sheet(path: Path) -> Sheet:
    """Read the file.

    Args:
        path: a file that ends in .csv, .parquet or .pq.

    Returns:
        Its cells, at least one row of them.

    Raises:
        UsageError: the file is missing, empty, of another kind, or damaged.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise _error(path, "is a folder; give the CSV or Parquet file in it.")
    if not path.exists():
        raise _error(path, f"does not exist (looked in {path.absolute().parent}); correct it.")
    if suffix != ".csv" and suffix not in _PARQUET_SUFFIXES:
        raise _error(path, "is of an unknown kind; give a file that ends in .csv or .parquet.")
    try:
        sheet = _read_csv(path) if suffix == ".csv" else _read_parquet(path)
    except OSError as error:
        raise _error(path, f"cannot be read ({_first_line(error)}); check the file.") from error
    if sheet.frame.empty:
        raise _error(
            path, "has no rows of values; give a CSV or Parquet file with a window of them or more."
        )
    return sheet


def _read_csv(path: Path) -> Sheet:
    try:
        header = _read_header(path)
        frame = _read_cells(path, header)
    except UnicodeDecodeError as error:
        raise _error(
            path, f"is not UTF-8 text (byte {error.start}); save it as a CSV file in UTF-8."
        ) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise _error(
            path,
            f"is not a CSV file with {len(header)} fields in every row ({_first_line(error)}); "
            "correct that row.",
        ) from error
    frame = _without_blank_end(frame)
    if len(frame) and not _holds_a_number(frame):
        raise _error(
            path,
            "is not a CSV file of a series (no field below its first line begins with a number or "
            "a date); give a CSV file with a header row and a row of numbers a time step.",
        )
    return Sheet(path, frame, first_row=2)


def _read_header(path: Path) -> list[str]:
    """The names in the first row, checked, without the byte-order mark some programs write."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        start = file.read(4096)
        if not start.strip():
            raise _error(path, "is empty; give a file with a header row and rows of values.")
        if "\0" in start:
            raise _error(path, "is not a CSV file (it holds binary data); give a CSV file.")
        if _MARKUP.match(start):
            raise _error(path, "is not a CSV file but HTML or XML; give the CSV file itself.")
        file.seek(0)
        header = [name.strip() for name in next(csv.reader(file), [])]
    if len(header) <= 1:
        _refuse_other_separators(path, header)
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise _error(path, f"has more than one column named {repeated[0]!r}; rename all but one.")
    return header


def _refuse_other_separators(path: Path, header: list[str]) -> None:
    for separator, spelling in _OTHER_SEPARATORS.items():
        if any(separator in name for name in header):
            raise _error(path, f"separates its columns with {spelling}; save it with commas.")


def _read_cells(path: Path, header: list[str]) -> pd.DataFrame:
    with warnings.catch_warnings():
        # pandas only warns where it throws away the fields that the header has no name for.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            names=header,
            header=0,
            encoding="utf-8-sig",
            # False, or the first column of a row that is one field too long becomes an index.
            index_col=False,
            # False, or blank lines shift the row numbers of every message after them.
            skip_blank_lines=False,
            skipinitialspace=True,
            # False, or a column's type may change from one piece of the file to the next.
            low_memory=False,
        )


def _without_blank_end(frame: pd.DataFrame) -> pd.DataFrame:
    filled = np.flatnonzero(frame.notna().any(axis=1))
    return frame.iloc[: int(filled[-1]) + 1 if len(filled) else 0]


def _holds_a_number(frame: pd.DataFrame) -> bool:
    """Whether there is a number or a date, damaged ones included, as there is not in prose."""
    columns = [frame[name] for name in frame]
    if any(is_numeric_dtype(column) and column.notna().any() for column in columns):
        return True
    return any(column.astype(str).str.match(_NUMBER_OR_DATE).any() for column in columns)


def _read_parquet(path: Path) -> Sheet:
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise _error(path, "needs pyarrow to be read; pip install pyarrow.") from error
    except ValueError as error:
        raise _error(
            path, f"is not a Parquet file ({_first_line(error)}); write it again."
        ) from error
    # A range only counts the rows; another index is a column of values, mostly of times.
    frame = frame.reset_index(drop=isinstance(frame.index, pd.RangeIndex))
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    return Sheet(path, frame, first_row=1)


def _error(path: Path, problem: str, joint: str = " ") -> UsageError:
    return UsageError(f"data.path={path}{joint}{problem}")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
