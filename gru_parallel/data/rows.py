"""Rows: the rows of a series that are used, with their times and values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.sheet import Sheet


@dataclass(frozen=True)
class Rows:
    """The rows of a series that are used.

    Attributes:
        sheet: the cells of the series.
        positions: of each row in the sheet, array of shape `(rows,)`.
        numbers: values, array of shape `(rows, columns)`; NaN for a gap.
        times: of each row, ascending, array of shape `(rows,)`, or None.
        time_column: the column of the sheet that holds the times, or None.
    """

    sheet: Sheet
    positions: NDArray[np.intp]
    numbers: NDArray[np.float64]
    times: NDArray[Any] | None
    time_column: str | None

    @property
    def clock(self) -> NDArray[Any]:
        """The times, or if there are none, the number of each row in the file."""
        return self.positions.astype(np.float64) if self.times is None else self.times

    def describe(self, position: int) -> str:
        """Name one of the rows as a user knows it, with its time."""
        at = int(self.positions[position])
        row = f"row {self.sheet.row(at)}"
        if self.time_column is None:
            return row
        return f"{row} ({self.time_column}={self.sheet.frame[self.time_column].iloc[at]})"
