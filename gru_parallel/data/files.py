"""From a file to tables: one series, or the several of a long table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gru_parallel.data.columns import choose_columns
from gru_parallel.data.long_table import check_series_column, take_apart
from gru_parallel.data.missing import as_numbers, rows_to_keep
from gru_parallel.data.reading import Sheet, read_sheet
from gru_parallel.data.table import Table
from gru_parallel.data.times import check_times, find_time_column, read_times


def load_table(
    path: str | Path,
    time_column: str | None = None,
    columns: Sequence[str] | None = None,
    targets: str | Sequence[str] | None = None,
    missing: str = "error",
) -> Table:
    """Read a wide series, one row a time step, from a CSV or Parquet file.

    Args:
        path: the file; its suffix says which kind it is.
        time_column: the column that holds the time of each row; None looks for one, see
            `find_time_column`; "none" is for a file without times.
        columns: the value columns to use; None takes all but the time column.
        targets: the column or columns to forecast; None takes all value columns.
        missing: what becomes of cells that are empty, NaN, infinite or text: "error" refuses the
            file, "drop" leaves the row out, "interpolate" makes them NaN, for `SeriesDataModule` to
            fill when it knows the parts, see `gru_parallel.data.gaps`.

    Returns:
        The series; its values are finite, or NaN with "interpolate".

    Raises:
        UsageError: the file, one of its cells, or a name does not do; the message says which.
    """
    return load_tables(path, time_column, columns, targets, missing)[0]


def load_tables(
    path: str | Path,
    time_column: str | None = None,
    columns: Sequence[str] | None = None,
    targets: str | Sequence[str] | None = None,
    missing: str = "error",
    series_column: str | None = None,
) -> list[Table]:
    """Read all series of a CSV or Parquet file, one row a time step of one series.

    Args:
        path: see `load_table`.
        time_column: see `load_table`; time has to ascend within each series.
        columns: see `load_table`.
        targets: see `load_table`.
        missing: see `load_table`; each series is treated by itself.
        series_column: the column that says which series a row is of; None where all rows are of
            one. The rows of a series need not follow one another.

    Returns:
        A table a series, in the order in which they first appear, each with its name.

    Raises:
        UsageError: the file, one of its cells, or a name does not do; the message says which.
    """
    sheet = read_sheet(Path(path))
    names = [str(name) for name in sheet.frame.columns]
    taken = list(columns or ())
    if series_column is not None:
        check_series_column(series_column, names, time_column)
        taken.append(series_column)
    found = find_time_column(sheet, time_column, taken)
    chosen, wanted = choose_columns(names, found, columns, targets, series_column)
    # For all series together: which of day and month comes first, some series alone cannot tell.
    times = None if found is None else read_times(sheet, found)
    sheets = [sheet] if series_column is None else take_apart(sheet, series_column)
    return [_table_of(series, found, times, chosen, wanted, missing) for series in sheets]


def _table_of(
    sheet: Sheet,
    time_column: str | None,
    times_of_all: NDArray[Any] | None,
    columns: tuple[str, ...],
    targets: tuple[str, ...],
    missing: str,
) -> Table:
    times = None
    if time_column is not None and times_of_all is not None:
        times = times_of_all[sheet.frame.index]
        check_times(sheet, time_column, times)
    numbers = as_numbers(sheet, columns, missing)
    kept = rows_to_keep(numbers, columns, missing, sheet.series)
    kept_times = None if times is None else times[kept]
    return Table(kept_times, numbers[kept], columns, targets, sheet.series)
