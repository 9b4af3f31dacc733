"""Writes and reads forecasts.csv: what was forecast over the test part, beside what came."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from gru_parallel.data.forecast import Forecast


def write_forecasts(forecasts: Iterable[Forecast], path: Path) -> None:
    """Write a row for each forecast value, with six digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Forecast._fields)
        for forecast in forecasts:
            *names, y, y_hat = forecast
            writer.writerow([*names, f"{y:.6g}", f"{y_hat:.6g}"])


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
                row["target"],
                float(row["y"]),
                float(row["y_hat"]),
            )
            for row in csv.DictReader(file)
        )
