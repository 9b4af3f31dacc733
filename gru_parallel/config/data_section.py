"""The schema of the section data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from gru_parallel.choices import CALENDAR, CENTRES, COLUMN_SCALINGS
from gru_parallel.rules import (
    AT_LEAST_0,
    AT_LEAST_1,
    COLUMNS,
    OWN,
    SEED,
    Arguments,
    Count,
    at_most,
    each_of,
    one_of,
)


@dataclass
class DataConfig:
    """conf/data: see the comments there for what each setting means."""

    name: str
    target: Any
    input_length: Count
    horizon: Count
    batch_size: Annotated[int, AT_LEAST_1, at_most(10**9)]
    stride: Count
    min_input_length: Count | None
    split: list[float]
    split_by: Annotated[str, one_of("time", "series")]
    order: Annotated[str, one_of("shuffled", "streams")]
    scaling: Annotated[str, one_of(*COLUMN_SCALINGS)]
    centre: Annotated[str, one_of(*CENTRES)]
    calendar: Annotated[list[str], each_of(*CALENDAR)] | None
    season_length: Count | None
    num_workers: Annotated[int, AT_LEAST_0, at_most(256)]


@dataclass
class Lorenz96Config(DataConfig):
    """conf/data/lorenz96.yaml."""

    n_steps: int
    n_channels: int
    forcing: float
    dt: float
    seed: Annotated[int, SEED]


@dataclass
class OwnDataConfig(DataConfig):
    """conf/data/own.yaml."""

    source: Annotated[str, OWN]
    arguments: Arguments | None


@dataclass
class CsvConfig(DataConfig):
    """conf/data/csv.yaml."""

    path: str
    validation_path: str | None
    columns: list[str] | None
    future: Annotated[list[str], COLUMNS] | None
    static: Annotated[list[str], COLUMNS] | None
    weight: str | None
    time_column: Any
    series_column: str | None
    missing: Annotated[str, one_of("error", "interpolate", "drop")]
    frequency: str | None
    separator: str
    decimal: str
    thousands: str | None
