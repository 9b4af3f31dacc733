"""Splits a long table, whose rows belong to several series, by its series: data.series_column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gru_parallel.data.columns import check_names
from gru_parallel.data.sheet import Sheet
from gru_parallel.errors import UsageError


def check_series_column(
    column: str, names: Sequence[str], time_column: str | Sequence[str] | None
) -> None:
    """Check that the file has the series column, and that it does not hold the times, too.

    Args:
        column: the user's data.series_column.
        names: all columns of the file.
        time_column: the user's data.time_column, one or several, if given.

    Raises:
        UsageError: one of these is not so.
    """
    check_names("data.series_column", column, names)
    if column == time_column or (time_column is not None and column in list(time_column)):
        raise UsageError(
            f"data.series_column={column} is data.time_column too; name two columns, or leave "
            "data.series_column out if the file holds one series."
        )


def split_by_series(sheet: Sheet, column: str) -> list[Sheet]:
    """Give each series its own sheet.

    Args:
        sheet: the file's cells; the rows of a series need not be adjacent.
        column: the column whose cells name the series of each row.

    Returns:
        One sheet per series, in the order in which the series first appear, each with its rows in
        the order of the file.

    Raises:
        UsageError: a row names no series.
    """
    numbers, names = pd.factorize(sheet.frame[column].map(_stripped, na_action="ignore"))
    nameless = np.flatnonzero(numbers < 0)
    if len(nameless):
        raise sheet.error(
            f"row {sheet.row(int(nameless[0]))}, column {column!r} is empty; every row must name "
            "its series there."
        )
    positions = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    return [sheet.part(rows, str(name)) for rows, name in zip(positions, names, strict=True)]


def _stripped(cell: Any) -> Any:
    return (cell.strip() or None) if isinstance(cell, str) else cell
