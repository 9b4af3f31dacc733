"""Reads a file piece by piece into blocks of rows of one series each, checked like whole files."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.file_columns import FileColumns, find_columns
from gru_parallel.data.frequency import check_frequency
from gru_parallel.data.long_table import split_by_series
from gru_parallel.data.read_static import read_static
from gru_parallel.data.reading import read_pieces
from gru_parallel.data.rows_ahead import numbers_and_rows_ahead
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.static import Static
from gru_parallel.data.time_columns import have_hhmm, with_one_time_column
from gru_parallel.data.times import Beginning, TimesOfPieces, check_times

ROWS_AT_ONCE = 1 << 16
"""Of a file that is read in pieces."""

_GROWTH = 8
"""How many times as long as the one before each beginning of a file is that is looked at."""


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one series.

    Attributes:
        series: name of the series; empty where there is only one.
        rows: number by which a user knows each row in its file, array of shape `(rows,)`.
        times: of each row, of the same shape, or None.
        values: array of float64 and of shape `(rows, columns)`; NaN for a gap to be filled, and in
            rows that may be ahead of the series.
        time_column: name of the column that the times were read from, or None.
        static: what describes the series, as far as these rows tell.
    """

    series: str
    rows: NDArray[np.int64]
    times: NDArray[Any] | None
    values: NDArray[np.float64]
    time_column: str | None = None
    static: Static = field(default_factory=dict)


def read_blocks(
    file: SeriesFile,
    n_rows: int = ROWS_AT_ONCE,
    on_rows: Callable[[int], None] | None = None,
) -> Iterator[Block]:
    """Read a file that may be larger than memory.

    Args:
        file: which one, and how it is to be read; its frequency only has to go with its other
            settings here.
        n_rows: read at once.
        on_rows: is told the number of rows read so far; None for nobody.

    Yields:
        Blocks; those of one series in the order of the file.

    Raises:
        UsageError: as `load_tables`, but a column may be without any number.
    """
    found: FileColumns | None = None
    last: dict[str, tuple[Any, int]] = {}
    times_of: TimesOfPieces | None = None
    are_hhmm = False
    for piece in read_pieces(Path(file.path), file.csv_format, file.text_columns, n_rows):
        if found is None:
            found = find_columns(piece, file)
            check_frequency(file.frequency, bool(found.times), file.missing)
        are_hhmm = are_hhmm or have_hhmm(piece, found.times)
        sheet, time = with_one_time_column(piece, found.times, are_hhmm)
        if time is not None and times_of is None:
            times_of = TimesOfPieces(time, partial(_beginnings, file, found, n_rows))
        parts, positions = _parts(sheet, found)
        numbers = numbers_and_rows_ahead(sheet, found, file.missing)
        times = None if times_of is None else times_of.read(sheet, positions)
        for part, at in zip(parts, positions, strict=True):
            here = None
            if times is not None and time is not None:
                here = times[at]
                check_times(part, time, here)
                _check_later(part, time, here, last)
            yield _kept(part, time, here, numbers[at], found, file.missing)
        if on_rows is not None:
            on_rows(int(sheet.frame.index[-1]) + 1)


def _parts(sheet: Sheet, found: FileColumns) -> tuple[list[Sheet], list[NDArray[np.intp]]]:
    """Return the cells of each series, and the positions of their rows."""
    parts = [sheet] if found.series is None else split_by_series(sheet, found.series)
    return parts, [np.asarray(part.frame.index) - sheet.frame.index[0] for part in parts]


def _beginnings(file: SeriesFile, found: FileColumns, n_rows: int) -> Iterator[Beginning]:
    """Yield the times of longer and longer beginnings of a file of several pieces."""
    columns = [*found.times, *(() if found.series is None else (found.series,))]
    frames: list[pd.DataFrame] = []
    n_seen, piece = 1, None
    for piece in read_pieces(Path(file.path), file.csv_format, file.text_columns, n_rows):
        frames.append(piece.frame[columns])
        if len(frames) == _GROWTH * n_seen:
            n_seen = len(frames)
            yield _joined(piece, frames, found)
    if piece is not None and len(frames) > n_seen:
        yield _joined(piece, frames, found)


def _joined(piece: Sheet, frames: list[pd.DataFrame], found: FileColumns) -> Beginning:
    sheet, _ = with_one_time_column(replace(piece, frame=pd.concat(frames)), found.times)
    return sheet, _parts(sheet, found)[1]


def _check_later(
    part: Sheet, column: str, times: NDArray[Any], last: dict[str, tuple[Any, int]]
) -> None:
    """Check that a block is later than the block of its series before."""
    before = last.get(part.series)
    if before is not None and times[0] <= before[0]:
        raise part.error(
            f"row {part.row(0)} ({column}={part.frame[column].iloc[0]}) is not later than row"
            f" {before[1]}, the one of the series before it; sort the file by {column!r}."
        )
    last[part.series] = times[-1], part.row(len(times) - 1)


def _kept(
    part: Sheet,
    time_column: str | None,
    times: NDArray[Any] | None,
    numbers: NDArray[np.float64],
    found: FileColumns,
    missing: str,
) -> Block:
    rows = np.asarray(part.frame.index, dtype=np.int64) + part.first_row
    if missing == "drop":
        is_kept = ~np.isnan(numbers).any(axis=1)
        if found.future:
            is_kept |= np.isnan(numbers[:, : len(found.values)]).all(axis=1)
        rows, numbers = rows[is_kept], numbers[is_kept]
        times = None if times is None else times[is_kept]
    static = read_static(part, found.static)
    return Block(part.series, rows, times, numbers, time_column, static)
