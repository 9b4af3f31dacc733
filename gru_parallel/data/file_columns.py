"""Which columns of a file hold the times, the names of the series, the values and the targets."""

from collections.abc import Sequence
from dataclasses import dataclass

from gru_parallel.data.columns import check_apart, check_names, check_of_run, choose_columns
from gru_parallel.data.long_table import check_series_column
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.sheet import Sheet
from gru_parallel.data.time_columns import find_time_columns
from gru_parallel.errors import UsageError


@dataclass(frozen=True)
class FileColumns:
    """What the columns of a file hold.

    Attributes:
        times: the columns that together hold the times; () for none.
        series: the column that names the series of each row; None for one series.
        values: the columns that go in, in the order of the model.
        future: the columns that are known ahead and go in after these.
        targets: the columns to forecast.
        static: the columns that describe a series.
        weight: the column of how much each row counts, or None.
    """

    times: tuple[str, ...]
    series: str | None
    values: tuple[str, ...]
    future: tuple[str, ...]
    targets: tuple[str, ...]
    static: tuple[str, ...] = ()
    weight: str | None = None

    @property
    def numbers(self) -> tuple[str, ...]:
        """All columns of numbers that go in, in the order of the model."""
        return self.values + self.future


def find_columns(sheet: Sheet, file: SeriesFile) -> FileColumns:
    """Find what the columns of a file hold.

    Args:
        sheet: the file's cells, or the first of them.
        file: how it is to be read.

    Raises:
        UsageError: the file lacks a column, or the settings contradict each other.
    """
    names, columns, series_column = sheet.names, file.columns, file.series_column
    other = _other_columns(file)
    taken = [*(columns or ()), *(name for of_setting in other.values() for name in of_setting)]
    check_apart({"data.columns": columns or (), **other, "data.target": _as_names(file.targets)})
    if series_column is not None:
        check_series_column(series_column, names, file.time_column)
        taken.append(series_column)
    times = find_time_columns(sheet, file.time_column, taken)
    if file.columns_of and columns is not None:
        others = [*times, *file.unused, *(() if series_column is None else (series_column,))]
        of_run = [*columns, *(name for of_setting in other.values() for name in of_setting)]
        check_of_run(sheet.path, names, of_run, others, file.columns_of)
    kinds = dict.fromkeys(times, "time")
    if series_column is not None:
        kinds[series_column] = "series"
    for setting, of_setting in other.items():
        check_names(setting, of_setting, names, kinds)
    known = [*sheet.index_columns, *taken] if columns is None else sheet.index_columns
    values, targets = choose_columns(names, times, columns, file.targets, series_column, known)
    if file.static and series_column is None:
        raise UsageError(
            f"data.static=[{','.join(file.static)}] tells series apart, and without"
            " data.series_column the file holds one; name that column, or leave data.static out."
        )
    future, static = tuple(file.future), tuple(file.static)
    return FileColumns(times, series_column, values, future, targets, static, file.weight)


def _other_columns(file: SeriesFile) -> dict[str, Sequence[str]]:
    """Return the columns that are neither values nor times, by the settings that name them."""
    named = {
        "data.future": file.future,
        "data.static": file.static,
        "data.weight": () if file.weight is None else (file.weight,),
    }
    return {setting: names for setting, names in named.items() if names}


def _as_names(given: str | Sequence[str] | None) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given or ()
