"""Reads a CSV file into a sheet, and says plainly why one cannot be read."""

import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from gru_parallel.data.csv_format import CsvFormat, word_for
from gru_parallel.data.sheet import Sheet, check_names_differ, file_error, first_line
from gru_parallel.errors import DataWarning

_SEPARATORS = {",": "commas", ";": "';'", "\t": "tabs", "|": "'|'"}
_MARKUP = re.compile(r"\s*<(!doctype|!--|\?xml|html|head|body)", re.IGNORECASE)
_NUMBER_OR_DATE = r"\s*[-+]?\.?\d"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*")


def read_csv(path: Path, csv_format: CsvFormat, text_columns: Sequence[str] = ()) -> Sheet:
    """Read a CSV file that exists.

    Args:
        path: the file.
        csv_format: how it is written.
        text_columns: columns whose cells are text, and never marks of missing values.

    Returns:
        Its cells, without blank lines at the end; there may be no rows.

    Raises:
        UsageError: it is empty, damaged, or not a CSV file of a series in this format.
    """
    (sheet,) = csv_pieces(path, csv_format, text_columns)
    return sheet


def csv_pieces(
    path: Path,
    csv_format: CsvFormat,
    text_columns: Sequence[str] = (),
    n_rows: int | None = None,
) -> Iterator[Sheet]:
    """Read a CSV file that exists piece by piece; see `read_csv`.

    Args:
        path: the file.
        csv_format: how it is written.
        text_columns: columns whose cells are text.
        n_rows: of a piece; None for all in one.

    Yields:
        Pieces, at least one, which may have no rows.
    """
    header: list[str] = []
    is_first = True
    n_blank = 0
    try:
        header = _read_header(path, csv_format.separator)
        frames = _read_cells(path, header, csv_format, n_rows)
        texts = _read_texts(path, header, csv_format, text_columns, n_rows)
        for frame, text in zip(frames, texts, strict=False):
            if text is not None:
                frame[text.columns] = text
            # Blank lines at the end of the file are no rows; more rows may come after these.
            whole = (
                frame.reindex(range(frame.index[0] - n_blank, frame.index[-1] + 1))
                if n_blank
                else frame
            )
            filled = np.flatnonzero(whole.notna().any(axis=1))
            n_filled = int(filled[-1]) + 1 if len(filled) else 0
            piece, n_blank = whole.iloc[:n_filled], len(whole) - n_filled
            if is_first and len(piece) and not _holds_a_number(piece):
                raise file_error(
                    path,
                    "is not a CSV file of a series (no field below its first line begins with a "
                    "number or a date); give a CSV file with a header row and one row of numbers "
                    "per time step.",
                )
            if is_first or len(piece):
                yield Sheet(path, piece, first_row=2, csv_format=csv_format)
            is_first = False
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


def _read_header(path: Path, separator: str) -> list[str]:
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
        if separator == " ":
            # Aligned columns may have blanks before the first one, too.
            header = file.readline().split()
        else:
            names = next(csv.reader(file, delimiter=separator), [])
            header = [name.strip() for name in names]
    for other, spelling in _SEPARATORS.items():
        if len(header) <= 1 and other != separator and any(other in name for name in header):
            raise file_error(
                path,
                f"separates its columns with {spelling}; set data.separator={word_for(other)}.",
            )
    _check_names(path, header)
    return header


def _check_names(path: Path, names: list[str]) -> None:
    """Refuse names that are the values of a first row, and warn of those that could be.

    Numbers may be names, of sensors for example. There is no warning for numbers that count from 0
    or 1, as many programs name columns.
    """
    dates = [name for name in names if _DATE.fullmatch(name)]
    numbers = [name for name in names if _NUMBER.fullmatch(name) and name not in dates]
    remedy = "add a row with a name for each column"
    if dates and (numbers or len(dates) == len(names)):
        raise file_error(
            path,
            f"has no header row: its first row holds {_shown(dates[:1] + numbers)}; {remedy}.",
        )
    if_values = f", or, if these are values, {remedy} above them" if numbers else ""
    check_names_differ(path, names, f"rename all but one{if_values}")
    counted = [str(n) for n in range(len(numbers) + 1)]
    if numbers and numbers not in (counted[:-1], counted[1:]):
        warnings.warn(
            f"data.path={path}: the header row names columns {_shown(numbers)}; if these are "
            f"values, {remedy} above them.",
            DataWarning,
            stacklevel=2,
        )


def _shown(names: list[str], n_shown: int = 3) -> str:
    return ", ".join(names[:n_shown]) + (", ..." if len(names) > n_shown else "")


def _read_cells(
    path: Path, header: list[str], csv_format: CsvFormat, n_rows: int | None, **options: Any
) -> Iterator[pd.DataFrame]:
    """Read cells, all at once, or so many rows at a time."""
    defaults: dict[str, Any] = {
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
    }
    if n_rows is None:
        with _discarded_fields_refused():
            yield pd.read_csv(path, **(defaults | options))
        return
    with pd.read_csv(path, chunksize=n_rows, **(defaults | options)) as pieces:
        while True:
            with _discarded_fields_refused():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece


@contextmanager
def _discarded_fields_refused() -> Iterator[None]:
    with warnings.catch_warnings():
        # pandas only warns when it discards fields that the header has no name for.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        yield


def _read_texts(
    path: Path, header: list[str], csv_format: CsvFormat, wanted: Sequence[str], n_rows: int | None
) -> Iterator[pd.DataFrame | None]:
    """The cells of some columns as the file has them, None where they are empty; None for none."""
    columns = [name for name in header if name in wanted]
    if not columns:
        yield from repeat(None)
        return
    options = {"dtype": str, "keep_default_na": False, "usecols": columns}
    for frame in _read_cells(path, header, csv_format, n_rows, **options):
        yield frame.astype(object).map(lambda text: text.strip() or None, na_action="ignore")


def _holds_a_number(frame: pd.DataFrame) -> bool:
    """Whether a cell begins as a number or a date does; in prose none may."""
    columns = [frame[name] for name in frame]
    if any(is_numeric_dtype(column) and column.notna().any() for column in columns):
        return True
    return any(column.astype(str).str.match(_NUMBER_OR_DATE).any() for column in columns)
