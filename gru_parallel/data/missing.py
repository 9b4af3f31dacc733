"""Turns cells into numbers, and refuses, marks or leaves out those that are none: data.missing."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype, is_scalar

from gru_parallel.data.reading import Sheet
from gru_parallel.errors import UsageError

MISSING = ("error", "interpolate", "drop")


def as_numbers(sheet: Sheet, columns: Sequence[str], missing: str) -> NDArray[np.float64]:
    """Read the value columns as numbers.

    Args:
        sheet: the file's cells.
        columns: the columns to read.
        missing: "error" refuses a cell that is no finite number; with "interpolate" and "drop"
            such a cell becomes NaN.

    Returns:
        Array of shape `(rows, columns)`.

    Raises:
        UsageError: `missing` is unknown, a cell is refused, or a column holds no number at all.
    """
    if missing not in MISSING:
        raise UsageError(f"data.missing={missing} is unknown; use one of {', '.join(MISSING)}.")
    read = [_column_as_numbers(sheet.frame[name]) for name in columns]
    numbers = np.stack(read, axis=1)
    numbers[~np.isfinite(numbers)] = np.nan
    rows, positions = np.nonzero(np.isnan(numbers))
    if missing == "error" and len(rows):
        raise _bad_cell(sheet, int(rows[0]), columns[int(positions[0])])
    for name, column in zip(columns, numbers.T, strict=True):
        if np.isnan(column).all():
            raise sheet.error(
                f"column {name!r} holds no number, so data.missing={missing} cannot help; "
                "leave it out with data.columns."
            )
    return numbers


def rows_to_keep(
    numbers: NDArray[np.float64], columns: Sequence[str], missing: str, series: str = ""
) -> NDArray[np.intp]:
    """Choose the rows that make the series.

    Args:
        numbers: array of shape `(rows, columns)`.
        columns: names of the columns.
        missing: "drop" leaves out each row with a NaN; anything else keeps all rows.
        series: name of the series for an error; empty where there is but one.

    Returns:
        Position in `numbers` of each row to keep.

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
            "the most gaps); leave that column out with data.columns, or use "
            "data.missing=interpolate."
        )
    return kept


def _column_as_numbers(cells: "pd.Series[Any]") -> NDArray[np.float64]:
    if is_numeric_dtype(cells):
        return cells.to_numpy(dtype=np.float64, na_value=math.nan)
    return np.array([_cell_as_number(cell) for cell in cells], dtype=np.float64)


def _cell_as_number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan


def _bad_cell(sheet: Sheet, row: int, column: str) -> UsageError:
    cell = sheet.frame[column].iloc[row]
    where = f"row {sheet.row(row)}, column {column!r}"
    remedy = "correct it, or set data.missing=interpolate or data.missing=drop"
    if isinstance(cell, float) and math.isinf(cell):
        return sheet.error(f"{where} is infinite ({cell}); {remedy}.")
    if is_scalar(cell) and pd.isna(cell):
        return sheet.error(f"{where} is empty or NaN; {remedy}.")
    return sheet.error(
        f"{where} holds {str(cell)!r}, which is no number; {remedy}, or leave the column out with "
        "data.columns."
    )
