"""Takes a long table, which holds several series below one another, apart: data.series_column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gru_parallel.data.columns import unknown_column
from gru_parallel.data.sheet import Sheet
from gru_parallel.errors import UsageError


def check_series_column(
    column: str, names: Sequence[str], time_column: str | Sequence[str] | None
) -> None:
    """Refuse a series column that the file does not have, or that is to hold the times too.

    Args:
        column: the user's data.series_column.
        names: all columns of the file.
        time_column: the user's data.time_column, one or several, if given.

    Raises:
        UsageError: see above.
    """
    if column not in names:
        raise unknown_column("data.series_column", column, names)
    if column == time_column or (time_column is not None and column in list(time_column)):
        raise UsageError(
            f"data.series_column={column} is data.time_column too; name two columns, or leave "
            "data.series_column out if the file holds one series."
        )


def take_apart(sheet: Sheet, column: str) -> list[Sheet]:
    """Give each series its own sheet.

    Args:
        sheet: the file's cells; the rows of a series need not follow one another.
        column: the column whose cells name the series of each row.

    Returns:
        A sheet a series, in the order in which the series first appear, each with its rows in the
        order of the file.

    Raises:
        UsageError: a row names no series.
    """
    cells = sheet.frame[column]
    numbers, ids = pd.factorize(cells.map(_stripped, na_action="ignore"))
    nameless = np.flatnonzero(numbers < 0)
    if len(nameless):
        raise sheet.error(
            f"row {sheet.row(int(nameless[0]))}, column {column!r} is empty; every row must name "
            "its series there."
        )
    by_series = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers))
    positions = np.split(by_series, ends[:-1])
    return [sheet.part(own, str(name)) for own, name in zip(positions, ids, strict=True)]


def _stripped(cell: Any) -> Any:
    return (cell.strip() or None) if isinstance(cell, str) else cell
