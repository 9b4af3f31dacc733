"""SeriesFile: a file of series, and how it is to be read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gru_parallel.data.csv_format import CsvFormat


@dataclass(frozen=True)
class SeriesFile:
    """A CSV or Parquet file with one row per time step and series, and how it is to be read.

    Attributes:
        path: the file; its suffix tells which kind it is.
        time_column: the column that holds the time of each row, which has to ascend within each
            series, or several that hold it together; None looks for one, see `find_time_columns`;
            "none" is for a file without times.
        columns: the value columns to use; None takes all but those of times and series.
        future: the columns that are known ahead; they come after the value columns. Rows after the
            last one with a value that have these alone are ahead of the series.
        static: the columns that describe a series, the same in all of its rows.
        weight: the column that says how much each row counts in the loss; None where all count
            alike.
        targets: the column or columns to forecast; None takes all value columns.
        missing: what to do with cells that are empty, NaN, infinite or text, in each series
            separately: "error" refuses the file, "drop" leaves the row out, "interpolate" makes
            them NaN, for `SeriesDataModule` to fill, see `gru_parallel.data.gaps`.
        series_column: the column that names the series of each row; None where there is only one
            series. The rows of a series need not be adjacent.
        frequency: the step from each row to the next, as pandas writes it, or a number where times
            are numbers: rows that are missing at this step are refused, or with the missing
            "interpolate" become rows of NaN. None only warns of them, and "none" does not.
        csv_format: how the file is written, if it is a CSV file.
        columns_of: whose the columns are, where they are not the file's own: `OF_MODEL` or
            `OF_RUN`; they may then be in any order, and others are ignored.
        unused: columns that are left out without a word.
    """

    path: str | Path
    time_column: str | Sequence[str] | None = None
    columns: Sequence[str] | None = None
    future: Sequence[str] = ()
    static: Sequence[str] = ()
    weight: str | None = None
    targets: str | Sequence[str] | None = None
    missing: str = "error"
    series_column: str | None = None
    frequency: str | None = None
    csv_format: CsvFormat = field(default_factory=CsvFormat)
    columns_of: str = ""
    unused: Sequence[str] = ()

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns whose cells are text, as NA and 007 are there."""
        names = () if self.series_column is None else (self.series_column,)
        return (*names, *self.static)
