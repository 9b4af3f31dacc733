"""Writes and reads forecasts.csv: forecasts beside what came, in the form that `predict` writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path

from gru_parallel.data.forecast import Forecast, quantile_column
from gru_parallel.whole_file import write_table

_OF_QUANTILE = quantile_column(0.5).removesuffix("0.5")


def write_forecasts(forecasts: Iterable[Forecast], path: Path) -> None:
    """Write a row for each forecast value; see `write_table`.

    Args:
        forecasts: as they are made; of a single target, there is no column `target`.
        path: of the file.
    """
    rows = iter(forecasts)
    begin = list(islice(rows, 1))
    has_target = all(forecast.target for forecast in begin)
    before = ["unique_id", "ds", "cutoff", *(["target"] if has_target else []), "y_hat"]
    levels = [quantile_column(level) for level, _ in begin[0].quantiles] if begin else []

    def cells(forecast: Forecast) -> list[str | float]:
        named = [getattr(forecast, name) for name in before]
        return [*named, *(value for _, value in forecast.quantiles), forecast.y]

    write_table([*before, *levels, "y"], map(cells, chain(begin, rows)), path)


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
                tuple(
                    (float(name.removeprefix(_OF_QUANTILE)), float(value or "nan"))
                    for name, value in row.items()
                    if name.startswith(_OF_QUANTILE)
                ),
            )
            for row in csv.DictReader(file)
        )
