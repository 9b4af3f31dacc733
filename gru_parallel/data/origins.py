"""Rolling origins: from which rows of each series a backtest forecasts, and what it trains on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.cutoffs import as_date
from gru_parallel.data.forecasts import times_of, written
from gru_parallel.data.parts import Parts, SeriesPart, all_rows
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
    tables: Sequence[Table],
    rolled: Sequence[SeriesPart],
    n_validation: Mapping[int, int],
    every: int,
    shape: WindowShape,
) -> Iterator[Parts]:
    """Yield what is trained on, validated on and forecast by each fit of a backtest.

    A fit is trained on what was known at the moment of its first origin: on all rows of all series
    up to then, of which the last ones of each are for validation. Once a series has enough of them
    it belongs to the training, whether it is forecast or not. The fit forecasts from the origins
    that come until a series has had `every` of them, or until the series of the first one ends.

    Args:
        tables: all series; where they have no times, the number of a row is its time.
        rolled: rows and ends of the series that are forecast.
        n_validation: rows for validation of each series, by its first row; 0 where it is not there.
        every: origins from one fit to the next.
        shape: extent of a window.

    Raises:
        UsageError: no series has enough rows to train on.
    """
    whole = list(zip(all_rows(tables), (_n_needed(table, shape) for table in tables), strict=True))
    moments = times_of(tables, np.arange(sum(table.n_rows for table in tables)))
    ahead = [(part, part.ends) for part in rolled if part.ends]
    while ahead:
        origins = [moments[np.array(ends) - 1] for _, ends in ahead]
        moment = min(of[0] for of in origins)
        known = _known(whole, moments, moment, n_validation)
        if not known["training"]:
            setting = "min_input_length" if shape.may_be_short else "input_length"
            ((text,),) = written(np.array([moment]))
            raise UsageError(
                f"Up to the first origin, {text}, no series has enough rows to train on: a window"
                f" of data.{setting}={shape.shortest} and data.horizon={shape.horizon} needs"
                f" {shape.shortest + shape.horizon} rows before those for validation, with a value"
                " in each column; give a later start, or fewer origins."
            )
        # A series that begins only long after that is not for so old a model.
        end = max(
            moments[part.rows.stop - 1]
            for (part, _), of in zip(ahead, origins, strict=True)
            if of[0] == moment
        )
        stop = min([end, *(of[every] for of in origins if len(of) > every)])
        n_now = [int(np.searchsorted(of, stop)) for of in origins]
        cut = list(zip(ahead, n_now, strict=True))
        test = tuple(replace(part, ends=ends[:n]) for (part, ends), n in cut if n)
        yield {**known, "test": test}
        ahead = [(part, ends[n:]) for (part, ends), n in cut if n < len(ends)]


def _n_needed(table: Table, shape: WindowShape) -> int:
    """Return from how many rows on a series can be trained on.

    They hold a window, and a value in each column, by which its gaps are filled.
    """
    first_values = (~np.isnan(table.values)).argmax(axis=0)
    return max(shape.shortest + shape.horizon, int(first_values.max()) + 1)


def _known(
    whole: Sequence[tuple[SeriesPart, int]],
    moments: NDArray[Any],
    moment: Any,
    n_validation: Mapping[int, int],
) -> dict[str, tuple[SeriesPart, ...]]:
    """Cut the rows up to a moment into those for training and those for validation.

    Args:
        whole: all rows of each series, and how many of them it has to have for training.
        moments: times of all rows.
        moment: the last that is known.
        n_validation: see `refits`.
    """
    training, validation = [], []
    for part, n_needed in whole:
        of_series = moments[part.rows.start : part.rows.stop]
        n_known = int(np.searchsorted(of_series, moment, side="right"))
        n_held_out = n_validation.get(part.series_start, 0)
        n_trained = n_known - n_held_out
        if n_trained < n_needed:
            continue
        training.append(replace(part, rows=part.rows[:n_trained]))
        if n_held_out:
            validation.append(replace(part, rows=part.rows[n_trained:n_known]))
    return {"training": tuple(training), "validation": tuple(validation)}


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
        return int(np.searchsorted(table.times, as_date(start, f"start={start}", table.times)))
    try:
        if table.times is None:
            return int(start)
        return int(np.searchsorted(table.times, float(start)))
    except ValueError as error:
        row = "row number, as the series have no times"
        kind = row if table.times is None else "number, as the times are numbers"
        raise UsageError(f"start={start} cannot be read; give a {kind}.") from error
