"""One line that tells series from all others, the same on every machine that has the same ones."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.forecast_window import ForecastWindow
from gru_parallel.data.table import Table

Thing = str | NDArray[Any] | None

_N_ROWS = 2**16
"""Of an array that are read at once, so that no copy of all of it is needed."""


def fingerprint(tables: Sequence[Table]) -> str:
    """Return what tells series from others: their size, and a digest of all that is in them."""
    things = (thing for table in tables for thing in _of_table(table))
    n_rows = sum(table.n_rows for table in tables)
    return f"{n_rows} rows in {len(tables)} series, SHA-256 {_digest(things)}"


def fingerprint_of_windows(windows: Sequence[ForecastWindow]) -> str:
    """Return the same of windows to forecast from."""
    things = (thing for window in windows for thing in _of_window(window))
    return f"{len(windows)} windows, SHA-256 {_digest(things)}"


def _of_table(table: Table) -> Iterable[Thing]:
    static = [(n, v if isinstance(v, str) else float(v)) for n, v in table.static.items()]
    names = table.name, [*table.columns], [*table.targets], [*table.future], static
    return repr(names), table.values, table.times, table.weight


def _of_window(window: ForecastWindow) -> Iterable[Thing]:
    of_past = window.series, window.values, window.past_times
    ahead = window.times, window.known, window.future, window.future_times
    return *of_past, *ahead, window.static


def _digest(things: Iterable[Thing]) -> str:
    digest = hashlib.sha256()
    for thing in things:
        if isinstance(thing, np.ndarray):
            digest.update(f"{thing.dtype.kind} {thing.shape}\n".encode())
            for first in range(0, len(thing), _N_ROWS):
                digest.update(_bytes(thing[first : first + _N_ROWS]))
        else:
            digest.update(f"{thing}\n".encode())
    return digest.hexdigest()[:16]


def _bytes(piece: NDArray[Any]) -> bytes:
    """Return values as bytes, whatever the machine."""
    if piece.dtype.kind == "f":
        # Processors do not agree on the bits of NaN.
        return np.where(np.isnan(piece), np.nan, piece).astype("<f8").tobytes()
    if piece.dtype.kind in "biumM":
        return piece.astype("<i8").tobytes()
    return "\n".join(map(str, piece.tolist())).encode()
