"""Writes forecasts as CSV or Parquet, a batch at a time, and the whole file or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from gru_parallel.whole_file import whole_file

KINDS = (".csv", ".parquet", ".pq")
"""What a file of forecasts may end in."""

COLUMNS = ("unique_id", "ds", "cutoff", "target", "y_hat", "y")
"""The columns that forecasts may have, by their names by default; those of quantiles are more."""

_ROWS_AT_ONCE = 1 << 16
"""Of a row group of a Parquet file: small ones make it large and slow."""


@contextmanager
def open_predictions(
    path: Path, names: Mapping[str, str], date_format: str
) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Open a file of forecasts to write to, which is there once it is complete; see `whole_file`.

    Args:
        path: of the file; its ending tells the kind.
        names: of columns that are to be called otherwise, by their names in `COLUMNS`.
        date_format: of dates in a CSV file, as strftime takes it.

    Yields:
        What writes the forecasts of a batch.
    """
    with whole_file(path) as part:
        file = _PredictionsFile(part, path.suffix.lower(), names, date_format)
        try:
            yield file.write
            file.flush()
        finally:
            file.close()


class _PredictionsFile:
    """A file of forecasts that is being written."""

    def __init__(self, path: Path, kind: str, names: Mapping[str, str], date_format: str) -> None:
        self._path = path
        self._kind = kind
        self._names = dict(names)
        self._date_format = date_format
        self._waiting: list[pd.DataFrame] = []
        self._n_waiting = 0
        self._file: Any = None
        # A path that cannot be written to is found before the forecasts are made.
        path.touch()

    def write(self, forecasts: pd.DataFrame) -> None:
        """Write the forecasts of a batch."""
        self._waiting.append(forecasts)
        self._n_waiting += len(forecasts)
        if self._n_waiting >= _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits for more."""
        if not self._waiting:
            return
        frame = pd.concat(self._waiting, ignore_index=True).rename(columns=self._names)
        self._waiting, self._n_waiting = [], 0
        if self._kind == ".csv":
            self._write_csv(frame)
        else:
            self._write_parquet(frame)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write_csv(self, frame: pd.DataFrame) -> None:
        is_first = self._file is None
        if is_first:
            self._file = self._path.open("w", encoding="utf-8", newline="")
        frame.to_csv(
            self._file,
            header=is_first,
            index=False,
            date_format=self._date_format,
            lineterminator="\n",
        )

    def _write_parquet(self, frame: pd.DataFrame) -> None:
        # Not at the top: only some files need it.
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        table = pa.Table.from_pandas(frame, preserve_index=False)
        if self._file is None:
            self._file = ParquetWriter(self._path, table.schema)
        self._file.write_table(table.cast(self._file.schema))
