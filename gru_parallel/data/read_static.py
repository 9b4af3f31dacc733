"""Reads what is the same in all rows of a series: data.static."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.number_text import as_floats
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.static import is_mark

_CODE = re.compile(r"\d+e\d+", re.IGNORECASE)
"""A word such as 1E3 or 12e4: programs that mean a thousand write 1e+03, 1.0E3 or 1000."""


def read_static(sheet: Sheet, columns: Sequence[str]) -> dict[str, float | str]:
    """Read what describes a series.

    Args:
        sheet: the cells of the series, or some of its rows.
        columns: that hold it; empty cells count for nothing, nor do marks of missing values where
            another row tells.

    Returns:
        By column a number or a word; nothing for a column that is empty.

    Raises:
        UsageError: a column holds two things.
    """
    found: dict[str, float | str] = {}
    for name in columns:
        numbers, cells = pd.factorize(sheet.frame[name].map(_stripped, na_action="ignore"))
        values = [_value(cell, sheet.csv_format) for cell in cells]
        told = [at for at, value in enumerate(values) if not is_mark(value)] or range(len(values))
        if not values:
            continue
        found[name] = values[told[0]]
        for other in [at for at in told if values[at] != found[name]][:1]:
            first, second = (int(np.flatnonzero(numbers == at)[0]) for at in (told[0], other))
            raise sheet.error(
                f"column {name!r} holds {cells[told[0]]} in row {sheet.row(first)}, and"
                f" {cells[other]} in row {sheet.row(second)}; data.static is the same in all rows"
                " of a series: correct it, or name the column in data.columns or data.future."
            )
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


def _value(cell: Any, csv_format: CsvFormat) -> float | str:
    if isinstance(cell, str) and _CODE.fullmatch(cell):
        return cell
    (number,) = as_floats(pd.Series([cell]), csv_format)
    return float(number) if math.isfinite(number) else str(cell)


def _stripped(cell: Any) -> Any:
    return (cell.strip() or None) if isinstance(cell, str) else cell
