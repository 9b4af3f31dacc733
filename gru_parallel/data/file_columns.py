"""Which columns of a file hold the times, the names of the series, the values and the targets."""

from dataclasses import dataclass

from gru_parallel.data.columns import check_of_run, choose_columns
from gru_parallel.data.long_table import check_series_column
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.time_columns import find_time_columns


@dataclass(frozen=True)
class FileColumns:
    """What the columns of a file hold.

    Attributes:
        times: the columns that together hold the times; () for none.
        series: the column that names the series of each row; None for one series.
        values: the columns that go in, in the order of the model.
        targets: the columns to forecast.
    """

    times: tuple[str, ...]
    series: str | None
    values: tuple[str, ...]
    targets: tuple[str, ...]


def find_columns(sheet: Sheet, file: SeriesFile) -> FileColumns:
    """Find what the columns of a file hold.

    Args:
        sheet: the file's cells, or the first of them.
        file: how it is to be read.

    Raises:
        UsageError: the file lacks a column, or the settings contradict each other.
    """
    names, columns, series_column = sheet.names, file.columns, file.series_column
    taken = list(columns or ())
    if series_column is not None:
        check_series_column(series_column, names, file.time_column)
        taken.append(series_column)
    times = find_time_columns(sheet, file.time_column, taken)
    if file.is_new and columns is not None:
        others = times if series_column is None else (*times, series_column)
        check_of_run(sheet.path, names, columns, others)
    values, targets = choose_columns(
        names, times, columns, file.targets, series_column, sheet.index_columns
    )
    return FileColumns(times, series_column, values, targets)
