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

# With thousands in groups, what stands between them, and what may stand before decimals then.
_GROUPED = [(r"\.", ","), (" ", ".,"), ("'", ".,"), (",", ".")]


def as_floats(cells: "pd.Series[Any]", csv_format: CsvFormat) -> NDArray[np.float64]:
    """Read a column as numbers.

    Args:
        cells: the column.
        csv_format: how numbers are written in text.

    Returns:
        Array of shape `(rows,)`, NaN where a cell is no number.
    """
    if is_numeric_dtype(cells):
        return cells.to_numpy(dtype=np.float64, na_value=math.nan)
    if not csv_format.has_plain_numbers:
        cells = pd.Series([_plain(cell, csv_format) for cell in cells], dtype=object)
    return np.array([_as_float(cell) for cell in cells], dtype=np.float64)


def settings_to_read(text: str, csv_format: CsvFormat) -> str:
    """Say with which settings a cell would be a number.

    Args:
        text: a cell that is none as it stands.
        csv_format: how numbers are said to be written.

    Returns:
        Settings as on the command line; empty if none would help.
    """
    text = _BLANKS.sub(" ", text.strip())
    if not re.search(r"\d", text):
        return ""
    for thousands, decimal in _spellings(text):
        found = CsvFormat(csv_format.separator, decimal, thousands)
        if found != csv_format and not math.isnan(_as_float(_plain(text, found))):
            asked = {"data.thousands": thousands, "data.decimal": decimal}
            now = {"data.thousands": csv_format.thousands, "data.decimal": csv_format.decimal}
            return " ".join(
                f"{setting}={'null' if character is None else word_for(character)}"
                for setting, character in asked.items()
                if character != now[setting]
            )
    return ""


def _spellings(text: str) -> list[tuple[str | None, str]]:
    """The marks of thousands and decimals that a text could have, the likeliest first."""
    found: list[tuple[str | None, str]] = []
    for mark, decimals in _GROUPED:
        for decimal in decimals:
            if re.fullmatch(
                rf"[-+]?\d{{1,3}}({mark}\d{{2,3}})*{mark}\d{{3}}([{decimal}]\d*)?", text
            ):
                found.append((mark.removeprefix("\\"), decimal))
    return [*found, (None, ","), (None, ".")]


def _plain(cell: Any, csv_format: CsvFormat) -> Any:
    """A number as computers write it; NaN for a text that is no number in this format."""
    if not isinstance(cell, str):
        return cell
    text = _BLANKS.sub(" ", cell.strip())
    whole, decimal, rest = text.partition(csv_format.decimal)
    if csv_format.thousands is not None and csv_format.thousands in whole:
        mark = re.escape(csv_format.thousands)
        # Groups of two digits are written in India.
        if not re.fullmatch(rf"[-+]?\d{{1,3}}({mark}\d{{2,3}})*{mark}\d{{3}}", whole):
            return math.nan
        whole = whole.replace(csv_format.thousands, "")
    if "." in whole or "," in whole:
        return math.nan
    return f"{whole}.{rest}" if decimal else whole


def _as_float(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan
