"""Reads a CSV file into a sheet, and says plainly why one cannot be read."""

import csv
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from gru_parallel.data.csv_format import CsvFormat, word_for
from gru_parallel.data.header import check_header
from gru_parallel.data.sheet import Sheet, file_error, first_line

_SEPARATORS = {",": "commas", ";": "';'", "\t": "tabs", "|": "'|'"}
_MARKUP = re.compile(r"\s*<(!doctype|!--|\?xml|html|head|body)", re.IGNORECASE)
_NUMBER_OR_DATE = r"\s*[-+]?\.?\d"


def read_csv(path: Path, csv_format: CsvFormat, text_column: str | None = None) -> Sheet:
    """Read a CSV file that exists.

    Args:
        path: the file.
        csv_format: how it is written.
        text_column: a column whose cells are names, and never numbers or marks of missing values.

    Returns:
        Its cells, without blank lines at the end; possibly no row.

    Raises:
        UsageError: it is empty, damaged, or no CSV file of a series in this format.
    """
    header: list[str] = []
    try:
        header = _read_header(path, csv_format)
        frame = _read_cells(path, header, csv_format)
        if text_column in header:
            frame[text_column] = _read_texts(path, header, csv_format, text_column)
    except UnicodeDecodeError as error:
        raise file_error(
            path, f"is not UTF-8 text (byte {error.start}); save it as a CSV file in UTF-8."
        ) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise file_error(
            path,
            f"is not a CSV file with {len(header)} fields in every row ({first_line(error)}); "
            "correct that row.",
        ) from error
    frame = _without_blank_end(frame)
    if len(frame) and not _holds_a_number(frame):
        raise file_error(
            path,
            "is not a CSV file of a series (no field below its first line begins with a number or "
            "a date); give a CSV file with a header row and a row of numbers a time step.",
        )
    return Sheet(path, frame, first_row=2, csv_format=csv_format)


def _read_header(path: Path, csv_format: CsvFormat) -> list[str]:
    """The names in the first row, checked, without the byte-order mark some programs write."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        start = file.read(4096)
        if not start.strip():
            raise file_error(path, "is empty; give a file with a header row and rows of values.")
        if "\0" in start:
            raise file_error(path, "is not a CSV file (it holds binary data); give a CSV file.")
        if _MARKUP.match(start):
            raise file_error(path, "is not a CSV file but HTML or XML; give the CSV file itself.")
        file.seek(0)
        if csv_format.separator == " ":
            # Columns that are lined up have blanks before the first one, too.
            header = file.readline().split()
        else:
            names = next(csv.reader(file, delimiter=csv_format.separator), [])
            header = [name.strip() for name in names]
    if len(header) <= 1:
        _refuse_other_separators(path, header, csv_format.separator)
    check_header(path, header)
    return header


def _refuse_other_separators(path: Path, header: list[str], separator: str) -> None:
    for other, spelling in _SEPARATORS.items():
        if other != separator and any(other in name for name in header):
            raise file_error(
                path,
                f"separates its columns with {spelling}; set data.separator={word_for(other)}.",
            )


def _read_cells(path: Path, header: list[str], csv_format: CsvFormat, **options: Any) -> Any:
    with warnings.catch_warnings():
        # pandas only warns where it throws away the fields that the header has no name for.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            **{
                "sep": r"\s+" if csv_format.separator == " " else csv_format.separator,
                "names": header,
                "header": 0,
                "encoding": "utf-8-sig",
                # False, or the first column of a row that is one field too long becomes an index.
                "index_col": False,
                # False, or blank lines shift the row numbers of every message after them.
                "skip_blank_lines": False,
                "skipinitialspace": True,
                # False, or a column's type may change from one piece of the file to the next.
                "low_memory": False,
                # pandas would take 1,2 for 12, and with points for thousands dates for numbers.
                "dtype": None if csv_format.has_plain_numbers else str,
                **options,
            },
        )


def _read_texts(
    path: Path, header: list[str], csv_format: CsvFormat, column: str
) -> "pd.Series[Any]":
    """The cells of a column as they stand in the file, None where there is nothing."""
    options = {"dtype": str, "keep_default_na": False, "usecols": [column]}
    texts: pd.Series[Any] = _read_cells(path, header, csv_format, **options)[column]
    return texts.astype(object).map(lambda text: text.strip() or None, na_action="ignore")


def _without_blank_end(frame: pd.DataFrame) -> pd.DataFrame:
    filled = np.flatnonzero(frame.notna().any(axis=1))
    return frame.iloc[: int(filled[-1]) + 1 if len(filled) else 0]


def _holds_a_number(frame: pd.DataFrame) -> bool:
    """Whether there is a number or a date, damaged ones included, as there is not in prose."""
    columns = [frame[name] for name in frame]
    if any(is_numeric_dtype(column) and column.notna().any() for column in columns):
        return True
    return any(column.astype(str).str.match(_NUMBER_OR_DATE).any() for column in columns)
