"""Sheet: the cells of a file, and how an error names one of them."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gru_parallel.data.csv_format import CsvFormat
from gru_parallel.errors import UsageError


@dataclass(frozen=True)
class Sheet:
    """The cells of a file.

    Attributes:
        path: the file.
        frame: the cells, with the column names of the file; its index counts the rows of the file
            from 0.
        first_row: the number by which a user knows the first row of the file: 2 in a CSV file,
            whose first row is the header, 1 in a Parquet file.
        series: name of the series that these cells belong to; empty where the file is one series.
        csv_format: how numbers are written in cells of text.
        index_columns: names of the columns that were the index of a data frame: they identify
            rows, and are values only if a user says so.
    """

    path: Path
    frame: pd.DataFrame
    first_row: int
    series: str = ""
    csv_format: CsvFormat = field(default_factory=CsvFormat)
    index_columns: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return [str(name) for name in self.frame.columns]

    def row(self, position: int) -> int:
        """Number by which a user knows the row at a position of `frame`."""
        return self.first_row + int(self.frame.index[position])

    def part(self, positions: NDArray[np.intp], series: str) -> "Sheet":
        """The rows at some positions, as the cells of one series."""
        return replace(self, frame=self.frame.iloc[positions], series=series)

    def message(self, text: str) -> str:
        """A message about cells of this file."""
        where = f"series {self.series!r}: " if self.series else ""
        return f"data.path={self.path}: {where}{text}"

    def error(self, problem: str) -> UsageError:
        """An error about cells of this file, ready to be raised."""
        return UsageError(self.message(problem))


def file_error(path: Path, problem: str) -> UsageError:
    """An error about a whole file, ready to be raised."""
    return UsageError(f"data.path={path} {problem}")


def check_names_differ(path: Path, names: list[str], remedy: str = "rename all but one") -> None:
    """Raise a UsageError, with this remedy, if two columns have the same name."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise file_error(
            path,
            f"has more than one column named {repeated[0]!r}, blanks around it aside; {remedy}.",
        )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where the message is empty."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
