"""Numbers in cells, written as data.decimal and data.thousands say."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from gru_parallel.data.csv_format import CsvFormat, word_for

_BLANKS = re.compile("[\u00a0\u2009\u202f]")
"""Blanks that do not break a line, which programs put between groups of digits."""

# Marks of thousands, and the characters that may then precede the decimals.
_GROUPED = [(".", ","), (" ", ".,"), ("'", ".,"), (",", ".")]


def as_floats(cells: "pd.Series[Any]", csv_format: CsvFormat) -> NDArray[np.float64]:
    """Read a column as numbers.

    Args:
        cells: the column.
        csv_format: how numbers are written in text.

    Returns:
        Array of shape `(rows,)`, NaN where a cell is not a number.
    """
    if is_numeric_dtype(cells):
        return cells.to_numpy(dtype=np.float64, na_value=math.nan)
    if not csv_format.has_plain_numbers:
        cells = pd.Series([_plain(cell, csv_format) for cell in cells], dtype=object)
    return np.array([_as_float(cell) for cell in cells], dtype=np.float64)


def settings_to_read(text: str, csv_format: CsvFormat) -> str:
    """Find settings with which a cell would be a number.

    Args:
        text: a cell that is not one with the present settings.
        csv_format: the present settings.

    Returns:
        Settings as on the command line; empty if none would help.
    """
    text = _BLANKS.sub(" ", text.strip())
    if not re.search(r"\d", text):
        return ""
    # The likeliest first.
    grouped = [(mark, point) for mark, points in _GROUPED for point in points]
    spellings = [(m, p) for m, p in grouped if _is_grouped(text.partition(p)[0], m)]
    for thousands, decimal in [*spellings, (None, ","), (None, ".")]:
        found = CsvFormat(csv_format.separator, decimal, thousands)
        if found != csv_format and not math.isnan(_as_float(_plain(text, found))):
            changes = (
                ("data.thousands", thousands, csv_format.thousands),
                ("data.decimal", decimal, csv_format.decimal),
            )
            return " ".join(
                f"{setting}={'null' if character is None else word_for(character)}"
                for setting, character, now in changes
                if character != now
            )
    return ""


def _is_grouped(whole: str, mark: str) -> bool:
    """Whether a whole number has groups of digits; those of two digits are written in India."""
    mark = re.escape(mark)
    return re.fullmatch(rf"[-+]?\d{{1,3}}({mark}\d{{2,3}})*{mark}\d{{3}}", whole) is not None


def _plain(cell: Any, csv_format: CsvFormat) -> Any:
    """A number as computers write it; NaN for a text that is not a number in this format."""
    if not isinstance(cell, str):
        return cell
    text = _BLANKS.sub(" ", cell.strip())
    whole, decimal, rest = text.partition(csv_format.decimal)
    if csv_format.thousands is not None and csv_format.thousands in whole:
        if not _is_grouped(whole, csv_format.thousands):
            return math.nan
        whole = whole.replace(csv_format.thousands, "")
    if "." in whole or "," in whole:
        return math.nan
    return f"{whole}.{rest}" if decimal else whole


def _as_float(cell: Any) -> float:
    if isinstance(cell, str) and "_" in cell:
        # A number in Python alone: 1_1 is a name.
        return math.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan
