"""The typed schema of conf/: what a config holds, and where the yaml files stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig


@dataclass
class DataConfig:
    """conf/data: see the comments there for what each setting means."""

    name: str
    target: Any
    input_length: int
    horizon: int
    batch_size: int
    stride: int
    min_input_length: int | None
    split: list[float]
    split_by: str
    order: str
    centre: str
    season_length: int | None
    num_workers: int


@dataclass
class Lorenz96Config(DataConfig):
    """conf/data/lorenz96.yaml."""

    n_steps: int
    n_channels: int
    forcing: float
    dt: float


@dataclass
class CsvConfig(DataConfig):
    """conf/data/csv.yaml."""

    path: str
    columns: list[str] | None
    time_column: str | None
    series_column: str | None
    missing: str


@dataclass
class ModelConfig:
    """conf/model."""

    num_layers: int
    layers_per_block: int
    hidden_size: int
    dropout: float
    bidirectional: Any
    h_0: Any
    encoder: str
    head: str
    loss: str


@dataclass
class PlacementConfig:
    """conf/placement."""

    device_map: Any
    merge: bool


@dataclass
class ScheduleConfig:
    """conf/schedule."""

    name: str
    n_micro_batches: int
    n_chunks: int
    truncate: int | None


@dataclass
class EngineConfig:
    """conf/engine/threads.yaml."""

    name: str


@dataclass
class ProcessesConfig(EngineConfig):
    """conf/engine/processes.yaml."""

    data_parallel: int
    timeout_s: float


@dataclass(frozen=True)
class Config:
    """Everything that a run needs to know, checked.

    Attributes:
        optimizer: `_target_` and the arguments of an optimiser.
        lr_scheduler: `_target_`, the arguments of a schedule, and `interval`; `_target_` None for
            none.
        trainer: arguments of Lightning's Trainer.
        callbacks: by name, `_target_` and arguments.
        logger: by name, `_target_` and arguments.
    """

    data: Lorenz96Config | CsvConfig
    model: ModelConfig
    placement: PlacementConfig
    schedule: ScheduleConfig
    engine: EngineConfig | ProcessesConfig
    optimizer: DictConfig
    lr_scheduler: DictConfig
    trainer: DictConfig
    callbacks: DictConfig
    logger: DictConfig
    seed: int
    ckpt_path: Path | None

    @property
    def data_parallel(self) -> int:
        """Replicas of the pipeline."""
        return self.engine.data_parallel if isinstance(self.engine, ProcessesConfig) else 1


DATA_SCHEMAS: dict[str, type[Lorenz96Config] | type[CsvConfig]] = {
    "lorenz96": Lorenz96Config,
    "csv": CsvConfig,
}
SCHEMAS = {
    "model": ModelConfig,
    "placement": PlacementConfig,
    "schedule": ScheduleConfig,
}
ENGINE_SCHEMAS: dict[str, type[EngineConfig]] = {
    "threads": EngineConfig,
    "processes": ProcessesConfig,
}
FREE_SECTIONS = ("optimizer", "lr_scheduler", "trainer", "callbacks", "logger")
"""Sections whose keys are the arguments of somebody else's classes."""


def conf_dir() -> Path:
    """Return the folder of the yaml files: in the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return next(path for path in (package / "conf", package.parent / "conf") if path.is_dir())
