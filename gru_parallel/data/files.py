"""From a file to tables: one series, or the several of a long table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.columns import choose_columns
from gru_parallel.data.counters import warn_of_counters
from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.data.frequency import (
    UNCHECKED,
    check_frequency,
    evenly_spaced,
    warn_of_gaps,
)
from gru_parallel.data.long_table import check_series_column, take_apart
from gru_parallel.data.missing import as_numbers, rows_to_keep
from gru_parallel.data.reading import read_sheet
from gru_parallel.data.rows import Rows
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.table import Table
from gru_parallel.data.time_columns import find_time_columns, with_one_time_column
from gru_parallel.data.times import check_times, read_times

_PLAIN = CsvFormat()


def load_tables(
    path: str | Path,
    *,
    time_column: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    targets: str | Sequence[str] | None = None,
    missing: str = "error",
    series_column: str | None = None,
    frequency: str | None = None,
    csv_format: CsvFormat = _PLAIN,
) -> list[Table]:
    """Read all series of a CSV or Parquet file, one row a time step of one series.

    Args:
        path: the file; its suffix says which kind it is.
        time_column: the column that holds the time of each row, which has to ascend within each
            series, or several that hold it together; None looks for one, see `find_time_columns`;
            "none" is for a file without times.
        columns: the value columns to use; None takes all but those of times and series.
        targets: the column or columns to forecast; None takes all value columns.
        missing: what becomes of cells that are empty, NaN, infinite or text, in each series by
            itself: "error" refuses the file, "drop" leaves the row out, "interpolate" makes them
            NaN, for `SeriesDataModule` to fill when it knows the parts, see
            `gru_parallel.data.gaps`.
        series_column: the column that says which series a row is of; None where all rows are of
            one. The rows of a series need not follow one another.
        frequency: the step from each row to the next, as pandas writes it, or a number where times
            are numbers: rows that are missing at this step are refused, or with the missing
            "interpolate" become rows of NaN. None only warns of them, and "none" does not.
        csv_format: how the file is written, if it is a CSV file.

    Returns:
        A table a series, in the order in which they first appear, each with its name.

    Raises:
        UsageError: the file, one of its cells, or a name does not do; the message says which.
    """
    sheet = read_sheet(Path(path), csv_format, series_column)
    names = sheet.names
    taken = list(columns or ())
    if series_column is not None:
        check_series_column(series_column, names, time_column)
        taken.append(series_column)
    time_columns = find_time_columns(sheet, time_column, taken)
    check_frequency(frequency, bool(time_columns), missing)
    chosen, wanted = choose_columns(
        names, time_columns, columns, targets, series_column, sheet.index_columns
    )
    sheet, time = with_one_time_column(sheet, time_columns)
    sheets = [sheet] if series_column is None else take_apart(sheet, series_column)
    all_times: list[NDArray[Any] | None] = [None] * len(sheets)
    if time is not None:
        all_times = list(_times_of_all(sheet, time, sheets))
    series = [
        _rows_of(own, time, times, chosen, missing)
        for own, times in zip(sheets, all_times, strict=True)
    ]
    if columns is None:
        warn_of_counters(series, chosen)
    if frequency is None:
        warn_of_gaps(series, missing)
    elif frequency != UNCHECKED:
        series = [evenly_spaced(rows, frequency, missing) for rows in series]
    return [Table(rows.times, rows.numbers, chosen, wanted, rows.sheet.series) for rows in series]


def _times_of_all(sheet: Sheet, column: str, sheets: Sequence[Sheet]) -> list[NDArray[Any]]:
    # For all series together: which of day and month comes first, some series alone cannot tell.
    series = [np.asarray(own.frame.index) for own in sheets]
    times = read_times(sheet, column, series)
    for own, rows in zip(sheets, series, strict=True):
        check_times(own, column, times[rows])
    return [times[rows] for rows in series]


def _rows_of(
    sheet: Sheet,
    time_column: str | None,
    times: NDArray[Any] | None,
    columns: tuple[str, ...],
    missing: str,
) -> Rows:
    numbers = as_numbers(sheet, columns, missing)
    kept = rows_to_keep(numbers, columns, missing, sheet.series)
    kept_times = None if times is None else times[kept]
    return Rows(sheet, kept, numbers[kept], kept_times, time_column)
