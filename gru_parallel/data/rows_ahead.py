"""Rows ahead of a series: they have what is known ahead (data.future), and no values yet.

They come after the last row that has a value. A row without values that another row follows is a
gap like others.
"""

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.file_columns import FileColumns
from gru_parallel.data.missing import numbers_of_piece
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.table import n_past


def without_rows_ahead(sheet: Sheet, values: tuple[str, ...]) -> Sheet:
    """Leave out the rows that are ahead of a series.

    Args:
        sheet: the cells of the series.
        values: its value columns, without those that are known ahead.
    """
    return sheet.part(np.arange(n_past(~_is_empty(sheet, values))), sheet.series)


def numbers_and_rows_ahead(sheet: Sheet, found: FileColumns, missing: str) -> NDArray[np.float64]:
    """Read a piece of a file as numbers, of which the last rows may be ahead of their series.

    Args:
        sheet: the piece.
        found: what its columns hold.
        missing: the user's data.missing.

    Returns:
        Array of shape `(rows, columns)`, NaN for a gap, and for the values of rows that are ahead.

    Raises:
        UsageError: a cell is refused, see `numbers_of_piece`.
    """
    if not found.future:
        return numbers_of_piece(sheet, found.numbers, missing)
    is_ahead = _is_empty(sheet, found.values)
    numbers = np.full((len(is_ahead), len(found.numbers)), np.nan)
    for is_it, columns in ((~is_ahead, found.numbers), (is_ahead, found.future)):
        part = sheet.part(np.flatnonzero(is_it), sheet.series)
        first = len(found.numbers) - len(columns)
        numbers[is_it, first:] = numbers_of_piece(part, columns, missing)
    return numbers


def _is_empty(sheet: Sheet, values: tuple[str, ...]) -> NDArray[np.bool_]:
    """Tell which rows have no value in any of these columns."""
    return np.asarray(sheet.frame[list(values)].isna().to_numpy().all(axis=1))
