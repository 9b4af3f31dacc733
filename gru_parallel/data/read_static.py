"""Reads what is the same in all rows of a series: data.static."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gru_parallel.data.number_text import as_floats
from gru_parallel.data.sheet import Sheet


def read_static(sheet: Sheet, columns: Sequence[str]) -> dict[str, float | str]:
    """Read what describes a series.

    Args:
        sheet: the cells of the series, or some of its rows.
        columns: that hold it; empty cells count for nothing.

    Returns:
        By column a number or a word; nothing for a column that is empty.

    Raises:
        UsageError: a column holds two things.
    """
    found: dict[str, float | str] = {}
    for name in columns:
        cells = sheet.frame[name].map(_stripped, na_action="ignore")
        filled = np.flatnonzero(cells.notna())
        if not len(filled):
            continue
        first = int(filled[0])
        cell = cells.iloc[first]
        for other in filled[(cells.iloc[filled] != cell).to_numpy()][:1]:
            raise sheet.error(
                f"column {name!r} holds {cell} in row {sheet.row(first)}, and {cells.iloc[other]}"
                f" in row {sheet.row(int(other))}; data.static is the same in all rows of a series:"
                " correct it, or name the column in data.columns or data.future."
            )
        (number,) = as_floats(pd.Series([cell]), sheet.csv_format)
        found[name] = float(number) if math.isfinite(number) else str(cell)
    return found


def read_all_static(sheet: Sheet, columns: Sequence[str]) -> dict[str, float | str]:
    """Read what describes a series from all of its rows; see `read_static`.

    Raises:
        UsageError: a column holds two things, or nothing.
    """
    found = read_static(sheet, columns)
    for name in columns:
        if name not in found:
            raise sheet.error(f"column {name!r} (data.static) is empty in all rows; fill it in.")
    return found


def _stripped(cell: Any) -> Any:
    return (cell.strip() or None) if isinstance(cell, str) else cell
