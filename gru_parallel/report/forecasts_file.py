"""Writes and reads forecasts.csv: forecasts beside what came, in the form that `predict` writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path

from gru_parallel.data.forecast import Forecast
from gru_parallel.whole_file import write_table


def write_forecasts(forecasts: Iterable[Forecast], path: Path) -> None:
    """Write a row for each forecast value; see `write_table`.

    Args:
        forecasts: as they are made; of a single target, there is no column `target`.
        path: of the file.
    """
    rows = iter(forecasts)
    begin = list(islice(rows, 1))
    if all(forecast.target for forecast in begin):
        write_table(Forecast._fields, chain(begin, rows), path)
        return
    kept = [name for name in Forecast._fields if name != "target"]
    write_table(kept, map(attrgetter(*kept), chain(begin, rows)), path)


def read_forecasts(path: Path) -> tuple[Forecast, ...]:
    """Read what `write_forecasts` wrote; nothing where there is no file: a run without a test."""
    if not path.is_file():
        return ()
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(
            Forecast(
                row["unique_id"],
                row["ds"],
                row["cutoff"],
                row.get("target", ""),
                float(row["y_hat"] or "nan"),
                float(row["y"] or "nan"),
            )
            for row in csv.DictReader(file)
        )
