"""Rolling origins: from which rows of each series a backtest forecasts, and what it trains on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gru_parallel.data.cutoffs import as_date
from gru_parallel.data.forecasts import times_of, written
from gru_parallel.data.parts import Parts, SeriesPart
from gru_parallel.data.table import Table
from gru_parallel.data.window_ends import window_ends
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import DataWarning, UsageError


@dataclass(frozen=True)
class Rolling:
    """Which origins a backtest has in each series.

    An origin is the last row that a forecast knows: the cutoff of its rows.

    Attributes:
        stride: rows from one origin to the next.
        start: the first origin is the first one at or after this date, number or, where series have
            no times, row; if that is before the first possible one, it is that one, with a warning.
            None for the first possible one.
        n_origins: in each series. Without `start` they are the last ones, so that the newest
            forecast ends with the series; None for all.
    """

    stride: int
    start: str | None = None
    n_origins: int | None = None


def roll(
    tables: Sequence[Table], test: Sequence[SeriesPart], shape: WindowShape, rolling: Rolling
) -> tuple[SeriesPart, ...]:
    """Say from which origins the rows of each series are forecast.

    Args:
        tables: all series.
        test: rows that may be forecast, of each series that has any.
        shape: extent of a window.
        rolling: which origins are wanted.

    Returns:
        The parts of `test` that have an origin, each with the ends of its windows.

    Raises:
        UsageError: no series has one, or none has as many as are asked for.
    """
    at = dict(zip(np.cumsum([0, *(table.n_rows for table in tables[:-1])]), tables, strict=True))
    rolled, moved = [], []
    for part in test:
        table = at[part.series_start]
        possible = window_ends(shape, part, "test", stride=1)
        ends = _ends(possible, part, table, rolling)
        if ends and rolling.start is not None:
            first, row = ends.start - 1 - part.series_start, _row_at(table, rolling.start)
            if row < first:
                ((text,),) = written(times_of([table], np.array([first])))
                moved.append(text)
        if ends:
            rolled.append(replace(part, ends=ends))
    most = max((len(part.ends or ()) for part in rolled), default=0)
    if not most:
        raise UsageError(
            f"start={rolling.start} leaves no origin with data.horizon={shape.horizon} rows after"
            " it; give an earlier one, or leave it out."
        )
    if rolling.n_origins is not None and most < rolling.n_origins:
        raise UsageError(
            f"n_origins={rolling.n_origins} exceeds the {most} origins that there are, one every"
            f" {rolling.stride} rows; use n_origins <= {most}, a smaller stride, or an earlier"
            " start."
        )
    if moved:
        of_them = "" if len(rolled) == 1 else f" in {len(moved)} of {len(rolled)} series"
        warnings.warn(
            f"start={rolling.start} is before the first possible origin{of_them}: the origins begin"
            f" at {moved[0]}, the last row before those that may be forecast.",
            DataWarning,
            stacklevel=2,
        )
    return tuple(rolled)


def refits(
    rolled: Sequence[SeriesPart],
    whole: Sequence[SeriesPart],
    n_validation: Sequence[int],
    every: int,
) -> Iterator[Parts]:
    """Yield what is trained on, validated on and forecast by each fit of a backtest.

    A fit forecasts from `every` origins of each series, and is trained on all rows up to the first
    of them, of which the last ones are for validation. A series whose origins have all been
    forecast stays in the training up to the last of them.

    Args:
        rolled: rows and ends of the series that are forecast.
        whole: all rows of these series, in the same order.
        n_validation: rows for validation of each, 0 for none.
        every: origins from one fit to the next.
    """
    n_origins = max(len(part.ends or ()) for part in rolled)
    for first in range(0, n_origins, every):
        cut: dict[str, list[SeriesPart]] = {"training": [], "validation": [], "test": []}
        for part, rows, n_rows in zip(rolled, whole, n_validation, strict=True):
            assert part.ends is not None
            ends = part.ends[first : first + every]
            known = ends[0] if ends else part.ends[-1]
            cut["training"].append(replace(rows, rows=range(rows.rows.start, known - n_rows)))
            if n_rows:
                cut["validation"].append(replace(rows, rows=range(known - n_rows, known)))
            if ends:
                cut["test"].append(replace(part, ends=ends))
        yield {name: tuple(parts) for name, parts in cut.items()}


def _ends(possible: range, part: SeriesPart, table: Table, rolling: Rolling) -> range:
    """Return the row after each origin, of those that are possible."""
    if rolling.start is not None:
        first = part.series_start + _row_at(table, rolling.start) + 1
        ends = range(max(first, possible.start), possible.stop, rolling.stride)
        return ends[: rolling.n_origins]
    if rolling.n_origins is None:
        return possible[:: rolling.stride]
    last_first = possible[::-1][:: rolling.stride][: rolling.n_origins]
    return last_first[::-1]


def _row_at(table: Table, start: str) -> int:
    """Return the first row of a series that is at or after a time."""
    if table.times is not None and np.issubdtype(table.times.dtype, np.datetime64):
        return int(np.searchsorted(table.times, as_date(start, f"start={start}")))
    try:
        if table.times is None:
            return int(start)
        return int(np.searchsorted(table.times, float(start)))
    except ValueError as error:
        row = "row number, as the series have no times"
        kind = row if table.times is None else "number, as the times are numbers"
        raise UsageError(f"start={start} cannot be read; give a {kind}.") from error
