"""One table from one file, for tests of files that hold one series."""

from pathlib import Path
from typing import Any

from gru_parallel.data.files import load_tables
from gru_parallel.data.series_file import SeriesFile
from gru_parallel.data.table import Table


def load_table(path: str | Path, **options: Any) -> Table:
    """Read the only series of a file; options are those of `SeriesFile`."""
    (table,) = load_tables(SeriesFile(path, **options))
    return table
