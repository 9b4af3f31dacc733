"""Which rows of which series are for training, for validation and for the test: data.split_by."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.extremes import stand_for_missing
from gru_parallel.data.split import PARTS, split, split_series, wanted_parts
from gru_parallel.data.table import Table
from gru_parallel.errors import UsageError

SPLIT_BY = ("time", "series")


@dataclass(frozen=True)
class SeriesPart:
    """The rows that one part of the data has of one series.

    Rows are counted through all series, as if they were joined in one array.

    Attributes:
        rows: the rows of the part.
        series_start: first row of the series.
        series: name of the series; empty where there is only one.
        ends: the row after the last input of each window; None for all windows that fit.
    """

    rows: range
    series_start: int = 0
    series: str = ""
    ends: range | None = None


Parts = Mapping[str, Sequence[SeriesPart]]
"""For "training", "validation" and "test", the rows of each of the part's series."""


def split_tables(
    tables: Sequence[Table], parts: Sequence[float], by: str = "time", *, trains: bool = True
) -> dict[str, tuple[SeriesPart, ...]]:
    """Divide the rows of all series into training, validation and test.

    Args:
        tables: the series.
        parts: the user's data.split, see `split`.
        by: "time" cuts each series separately, the oldest rows for training; "series" gives whole
            series to a part, the first ones to training.
        trains: whether the training part is trained on, and may not be left out.

    Returns:
        For "training", "validation" and "test", the part's rows of each of its series; () for a
        part that is not asked for.

    Raises:
        UsageError: `by` is unknown, or the parts do not fit the series.
    """
    whole = _whole_series(tables)
    if by == "series":
        cut = split_series(len(tables), parts, trains=trains)
        return {name: tuple(whole[number] for number in cut[name]) for name in PARTS}
    if by != "time":
        raise UsageError(f"data.split_by={by} is unknown; use one of {', '.join(SPLIT_BY)}.")
    found: dict[str, list[SeriesPart]] = {name: [] for name in PARTS}
    for part in whole:
        of = f"of series {part.series!r}" if part.series else "of the series"
        cut = split(len(part.rows), parts, whole=of, trains=trains)
        for name in wanted_parts(parts):
            cut_rows = part.rows[cut[name].start : cut[name].stop]
            found[name].append(SeriesPart(cut_rows, part.series_start, part.series))
    return {name: tuple(of_series) for name, of_series in found.items()}


def all_for_test(tables: Sequence[Table]) -> dict[str, tuple[SeriesPart, ...]]:
    """Give all rows of all series to the test; training and validation have no series."""
    return dict.fromkeys(PARTS, ()) | {"test": all_rows(tables)}


def all_rows(tables: Sequence[Table], n_before: int = 0) -> tuple[SeriesPart, ...]:
    """Return all rows of all series as one part, where so many rows of other series come first."""
    return tuple(_whole_series(tables, n_before))


def check_alike(tables: Sequence[Table]) -> None:
    """Check that one model can be trained on these series together.

    Raises:
        UsageError: there is no series, or one has other columns, targets, columns that are known
            ahead or things that describe it than the first.
    """
    if not tables:
        raise UsageError("There is no series; give at least one table.")
    for number, table in enumerate(tables):
        for what in ("columns", "targets", "future", "static"):
            names, expected = (tuple(getattr(each, what)) for each in (table, tables[0]))
            if names != expected:
                raise UsageError(
                    f"series {_label(table, number)!r} has the {what} {', '.join(names)}, and the "
                    f"first series has {', '.join(expected)}; give all series the same {what}."
                )
        if _kind_of_times(table) != _kind_of_times(tables[0]):
            raise UsageError(
                f"series {_label(table, number)!r} has {_kind_of_times(table)}, and the first"
                f" series has {_kind_of_times(tables[0])}; give all series times of one kind."
            )


def check_sizes(tables: Sequence[Table], values: NDArray[np.float64]) -> None:
    """Check that no series has, in a column, only marks of missing values.

    Alone it cannot tell them from measured ones: the other series can.

    Args:
        tables: the series.
        values: of all of them, one after another, array of shape `(rows, columns)`.

    Raises:
        UsageError: one has.
    """
    if len(tables) < 2:
        return
    for row, column in np.argwhere(stand_for_missing(values))[:1]:
        ends = np.cumsum([table.n_rows for table in tables])
        table = tables[np.searchsorted(ends, row, side="right")]
        raise UsageError(
            f"{table.where}column {table.columns[column]!r} holds {values[row, column]:g}, so much"
            " more than in all other series that it must stand for a missing value; leave the"
            " series or the column out, or, if it was measured, write the column in another unit."
        )


def named(tables: Sequence[Table]) -> tuple[Table, ...]:
    """Call those of several series that have no name by their number, as messages do.

    Raises:
        UsageError: two have the same name, so that their forecasts could not be told apart.
    """
    if len(tables) < 2:
        return tuple(tables)
    for name, n_series in Counter(map(_label, tables, count())).items():
        if n_series > 1:
            raise UsageError(
                f"{n_series} of the {len(tables)} series have the name {name!r}; give each a name"
                " of its own, or none to any of them."
            )
    return tuple(
        table if table.name else replace(table, name=str(number))
        for number, table in enumerate(tables)
    )


def _whole_series(tables: Sequence[Table], start: int = 0) -> list[SeriesPart]:
    parts = []
    for number, table in enumerate(tables):
        name = _label(table, number) if len(tables) > 1 else table.name
        parts.append(SeriesPart(range(start, start + table.n_rows), start, name))
        start += table.n_rows
    return parts


def _kind_of_times(table: Table) -> str:
    if table.times is None:
        return "no times"
    return "dates" if table.times.dtype.kind == "M" else "numbers for times"


def _label(table: Table, number: int) -> str:
    return table.name or str(number)
