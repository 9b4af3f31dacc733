"""Writes forecasts as CSV or Parquet, a batch at a time, and the whole file or none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd

KINDS = (".csv", ".parquet", ".pq")
"""What a file of forecasts may end in."""

COLUMNS = ("unique_id", "ds", "cutoff", "target", "y_hat", "y")
"""The columns that forecasts may have, by the names that they have by default."""

_ROWS_AT_ONCE = 1 << 16
"""Of a row group of a Parquet file: small ones make it large and slow."""


class PredictionsFile:
    """A file of forecasts that is being written; a context manager.

    It has another name until it is complete. If an error leaves the context, it is removed, with
    the folders that were made for it.

    Args:
        path: of the file; its ending tells the kind.
        names: of columns that are to be called otherwise, by their names in `COLUMNS`.
        date_format: of dates in a CSV file, as strftime takes it.
    """

    def __init__(self, path: Path, names: Mapping[str, str], date_format: str) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._names = dict(names)
        self._date_format = date_format
        self._waiting: list[pd.DataFrame] = []
        self._n_waiting = 0
        self._file: Any = None
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        parents = [self._path.parent, *self._path.parent.parents]
        self._made = [folder for folder in parents if not folder.exists()]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._part.touch()
        return self

    def write(self, forecasts: pd.DataFrame) -> None:
        """Write the forecasts of a batch."""
        self._waiting.append(forecasts)
        self._n_waiting += len(forecasts)
        if self._n_waiting >= _ROWS_AT_ONCE:
            self._flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            if self._file is not None:
                self._file.close()
        if error is None:
            self._part.replace(self._path)
            return
        self._part.unlink(missing_ok=True)
        for folder in self._made:
            folder.rmdir()

    def _flush(self) -> None:
        if not self._waiting:
            return
        frame = pd.concat(self._waiting, ignore_index=True).rename(columns=self._names)
        self._waiting, self._n_waiting = [], 0
        if self._path.suffix.lower() == ".csv":
            self._write_csv(frame)
        else:
            self._write_parquet(frame)

    def _write_csv(self, frame: pd.DataFrame) -> None:
        is_first = self._file is None
        if is_first:
            self._file = self._part.open("w", encoding="utf-8", newline="")
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
            self._file = ParquetWriter(self._part, table.schema)
        self._file.write_table(table.cast(self._file.schema))
