"""Turns cells into numbers, and refuses, marks or drops those that are not: data.missing."""

import math
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_scalar

from gru_parallel.data.csv_format import separator_within, word_for
from gru_parallel.data.extremes import stand_for_missing
from gru_parallel.data.number_text import as_floats, settings_to_read
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.time_columns import is_time_of_day
from gru_parallel.errors import DataWarning, UsageError

MISSING = ("error", "interpolate", "drop")


def as_numbers(sheet: Sheet, columns: Sequence[str], missing: str) -> NDArray[np.float64]:
    """Read the value columns as numbers.

    Args:
        sheet: the file's cells.
        columns: the columns to read.
        missing: "error" refuses a cell that is not a finite number; with "interpolate" and "drop"
            it becomes NaN.

    Returns:
        Array of shape `(rows, columns)`.

    Raises:
        UsageError: `missing` is unknown, a cell is refused, or a column holds no number at all.
    """
    numbers = numbers_of_piece(sheet, columns, missing)
    for position, name in enumerate(columns):
        if np.isnan(numbers[:, position]).all():
            raise sheet.error(
                f"column {name!r} holds no number, so data.missing={missing} cannot help; "
                "leave it out with data.columns or data.future."
            )
    return numbers


def numbers_of_piece(sheet: Sheet, columns: Sequence[str], missing: str) -> NDArray[np.float64]:
    """Read the value columns of a piece of a file, in which a column may have no number.

    The arguments are those of `as_numbers`.

    Raises:
        UsageError: `missing` is unknown, or a cell is refused.
    """
    if missing not in MISSING:
        raise UsageError(f"data.missing={missing} is unknown; use one of {', '.join(MISSING)}.")
    numbers = np.stack([as_floats(sheet.frame[name], sheet.csv_format) for name in columns], axis=1)
    numbers[~np.isfinite(numbers) | stand_for_missing(numbers)] = np.nan
    rows, positions = np.nonzero(np.isnan(numbers))
    if missing == "error" and len(rows):
        raise _bad_cell(sheet, int(rows[0]), columns[int(positions[0])])
    for position, name in enumerate(columns):
        _check_texts(sheet, rows[positions == position], name, missing)
    return numbers


def rows_to_keep(
    numbers: NDArray[np.float64], columns: Sequence[str], missing: str, series: str = ""
) -> NDArray[np.intp]:
    """Choose the rows of the series.

    Args:
        numbers: array of shape `(rows, columns)`.
        columns: names of the columns.
        missing: "drop" leaves out each row with a NaN; anything else keeps all rows.
        series: name of the series for an error; empty where there is only one.

    Returns:
        The position in `numbers` of each row that stays.

    Raises:
        UsageError: "drop" leaves no row.
    """
    if missing != "drop":
        return np.arange(len(numbers))
    present = ~np.isnan(numbers)
    kept = np.flatnonzero(present.all(axis=1))
    if not len(kept):
        worst = columns[int(present.sum(axis=0).argmin())]
        of = f" of series {series!r}" if series else ""
        raise UsageError(
            f"data.missing=drop leaves none of the {len(numbers)} rows{of} (column {worst!r} has "
            "the most gaps); leave that column out with data.columns or data.future, or use "
            "data.missing=interpolate."
        )
    return kept


def _check_texts(sheet: Sheet, gaps: NDArray[np.intp], column: str, missing: str) -> None:
    """Refuse numbers in another spelling among the gaps; warn of other texts with digits."""
    cells = sheet.frame[column].iloc[gaps]
    texts = [(row, cell) for row, cell in zip(gaps, cells, strict=True) if isinstance(cell, str)]
    with_digits = [(int(row), cell) for row, cell in texts if re.search(r"\d", cell)]
    if not with_digits:
        return
    for row, cell in with_digits:
        if settings_to_read(cell, sheet.csv_format):
            raise _bad_cell(sheet, row, column)
    row, cell = with_digits[0]
    warnings.warn(
        sheet.message(
            f"column {column!r} holds {len(with_digits)} texts with digits, the first {cell!r} in "
            f"row {sheet.row(row)}, which data.missing={missing} treats as missing values."
        ),
        DataWarning,
        stacklevel=3,
    )


def _bad_cell(sheet: Sheet, row: int, column: str) -> UsageError:
    cell = sheet.frame[column].iloc[row]
    return sheet.error(f"row {sheet.row(row)}, column {column!r} {_problem(sheet, column, cell)}.")


def _problem(sheet: Sheet, column: str, cell: Any) -> str:
    """What is wrong with a cell, and what to do about it."""
    remedy = "correct it, or set data.missing=interpolate or data.missing=drop"
    if isinstance(cell, float) and math.isinf(cell):
        return f"is infinite ({cell}); {remedy}"
    if is_scalar(cell) and pd.isna(cell):
        return f"is empty or NaN; {remedy}"
    if math.isfinite(as_floats(pd.Series([cell]), sheet.csv_format)[0]):
        return (
            f"holds {cell}, so much more than all others that it must stand for a missing value; "
            f"{remedy}"
        )
    holds = f"holds {str(cell)!r}"
    settings = settings_to_read(str(cell), sheet.csv_format)
    if settings:
        return f"{holds}; to have it read, set {settings}"
    separator = separator_within(column, str(cell))
    if separator is not None:
        return (
            f"{holds}, which looks like several columns; if it is, set "
            f"data.separator={word_for(separator)}, and if not, {remedy}"
        )
    if is_time_of_day(str(cell)):
        return (
            f"{holds}, a time of day; name it beside the date, as in "
            f"data.time_column=[date,{column}], or leave the column out with"
            " data.columns or data.future"
        )
    return (
        f"{holds}, which is not a number; {remedy}, or leave the column out with data.columns or"
        " data.future"
    )
