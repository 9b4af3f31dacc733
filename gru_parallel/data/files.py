"""From a file to tables: one series, or the several series of a long table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.counters import warn_of_counters
from gru_parallel.data.file_columns import FileColumns, find_columns
from gru_parallel.data.frequency import UNCHECKED, check_frequency, evenly_spaced, warn_of_gaps
from gru_parallel.data.long_table import split_by_series
from gru_parallel.data.missing import as_numbers, rows_to_keep
from gru_parallel.data.read_static import read_all_static
from gru_parallel.data.reading import read_sheet
from gru_parallel.data.rows import Rows
from gru_parallel.data.rows_ahead import without_rows_ahead
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.table import Table
from gru_parallel.data.time_columns import with_one_time_column
from gru_parallel.data.times import check_times, read_times
from gru_parallel.data.weights import weight_of


def load_tables(file: SeriesFile) -> list[Table]:
    """Read all series of a CSV or Parquet file, with one row per time step and series.

    Args:
        file: which one, and how it is to be read.

    Returns:
        One table per series, each with its name, in the order in which the series first appear;
        without the rows that are ahead of it.

    Raises:
        UsageError: the file, one of its cells, or a setting is not valid; the message says which.
    """
    missing, frequency = file.missing, file.frequency
    sheet = read_sheet(Path(file.path), file.csv_format, file.text_columns)
    found = find_columns(sheet, file)
    check_frequency(frequency, bool(found.times), missing)
    sheet, time = with_one_time_column(sheet, found.times)
    sheets = [sheet] if found.series is None else split_by_series(sheet, found.series)
    statics = [read_all_static(part, found.static) for part in sheets]
    if found.future:
        sheets = [without_rows_ahead(part, found.values) for part in sheets]
    series = _rows_of_all(sheet, sheets, time, found, missing)
    if file.columns is None:
        warn_of_counters(series, found.values)
    if frequency is None:
        warn_of_gaps(series, missing)
    elif frequency != UNCHECKED:
        series = [evenly_spaced(rows, frequency, missing) for rows in series]
    n_columns = len(found.numbers)
    return [
        Table(
            rows.times,
            rows.numbers[:, :n_columns],
            found.numbers,
            found.targets,
            rows.sheet.series,
            found.future,
            static,
            None if found.weight is None else weight_of(rows, found.weight),
            f"data.path={sheet.path}",
        )
        for rows, static in zip(series, statics, strict=True)
    ]


def _rows_of_all(
    sheet: Sheet,
    sheets: Sequence[Sheet],
    time_column: str | None,
    found: FileColumns,
    missing: str,
) -> list[Rows]:
    times: list[NDArray[Any] | None] = [None] * len(sheets)
    if time_column is not None:
        # For all series together: some alone cannot tell which of day and month comes first.
        positions = [np.asarray(part.frame.index) for part in sheets]
        all_times = read_times(sheet, time_column, positions)
        times = [all_times[rows] for rows in positions]
        for part, rows in zip(sheets, positions, strict=True):
            check_times(part, time_column, all_times[rows])
    series = []
    for part, times_of_part in zip(sheets, times, strict=True):
        numbers = as_numbers(part, found.numbers, missing)
        # By the values alone: what is trained on is evaluated, too, where nothing has a weight.
        kept = rows_to_keep(numbers, found.numbers, missing, part.series)
        if found.weight is not None:
            # Gaps are for `weight_of` to refuse, which no data.missing fills in or leaves out.
            weight = as_numbers(part, [found.weight], "interpolate")
            numbers = np.concatenate([numbers, weight], axis=1)
        kept_times = None if times_of_part is None else times_of_part[kept]
        series.append(Rows(part, kept, numbers[kept], kept_times, time_column))
    return series
