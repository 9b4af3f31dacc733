"""A series as the rest of the package sees it, and the way there from a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.columns import choose_columns
from gru_parallel.data.missing import as_numbers, treat_missing
from gru_parallel.data.reading import read_sheet
from gru_parallel.data.times import find_time_column, read_times
from gru_parallel.errors import UsageError


@dataclass(frozen=True)
class Table:
    """A series in memory, oldest row first.

    Attributes:
        times: time of each row, array of shape `(rows,)`, or None where the series has none.
        values: array of float64 and of shape `(rows, columns)`, all finite.
        columns: name of each column of `values`.
        targets: names of the columns to forecast, a subset of `columns`.
    """

    times: NDArray[Any] | None
    values: NDArray[np.float64]
    columns: tuple[str, ...]
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a table whose parts do not fit each other."""
        if self.values.ndim != 2 or self.values.shape[1] != len(self.columns):
            raise UsageError(
                f"values of shape {self.values.shape} do not fit {len(self.columns)} columns; "
                f"give an array of shape (rows, {len(self.columns)})."
            )
        choose_columns(self.columns, None, self.columns, self.targets)

    @property
    def n_rows(self) -> int:
        """Number of rows, one a time step."""
        return len(self.values)

    @property
    def target_columns(self) -> tuple[int, ...]:
        """Position of each target among the columns."""
        return tuple(self.columns.index(target) for target in self.targets)


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
        time_column: the column that holds the time of each row; None takes the first column of
            dates, if there is one.
        columns: the value columns to use; None takes all but the time column.
        targets: the column or columns to forecast; None takes all value columns.
        missing: what becomes of cells that are empty, NaN, infinite or text: "error" refuses the
            file, "interpolate" draws a straight line between the neighbours, "drop" leaves the
            row out.

    Returns:
        The series, with finite values only.

    Raises:
        UsageError: the file, one of its cells, or a name does not do; the message says which.
    """
    sheet = read_sheet(Path(path))
    names = [str(name) for name in sheet.frame.columns]
    found = find_time_column(sheet, time_column, taken=columns or ())
    chosen, wanted = choose_columns(names, found, columns, targets)
    times = None if found is None else read_times(sheet, found)
    numbers = as_numbers(sheet, chosen, missing)
    values, kept = treat_missing(numbers, chosen, missing)
    return Table(None if times is None else times[kept], values, chosen, wanted)
