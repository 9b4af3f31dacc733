"""The typed schema of conf/: what a config holds, and where the yaml files stand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf


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
    seed: int


@dataclass
class CsvConfig(DataConfig):
    """conf/data/csv.yaml."""

    path: str
    columns: list[str] | None
    time_column: Any
    series_column: str | None
    missing: str
    frequency: str | None
    separator: str
    decimal: str
    thousands: str | None


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


@dataclass
class TrainerConfig:
    """conf/trainer: the arguments of Lightning's Trainer that a run leaves to its user."""

    max_epochs: int | None
    min_epochs: int | None
    max_steps: int
    min_steps: int | None
    max_time: Any
    precision: Any
    gradient_clip_val: float | None
    gradient_clip_algorithm: str | None
    accumulate_grad_batches: int
    log_every_n_steps: int
    val_check_interval: Any
    check_val_every_n_epoch: int | None
    num_sanity_val_steps: int
    limit_train_batches: int | float | None
    limit_val_batches: int | float | None
    limit_test_batches: int | float | None
    limit_predict_batches: int | float | None
    overfit_batches: int | float
    fast_dev_run: int | bool
    deterministic: bool | str | None
    benchmark: bool | None
    inference_mode: bool
    profiler: str | None
    detect_anomaly: bool
    enable_checkpointing: bool
    enable_progress_bar: bool
    enable_model_summary: bool
    reload_dataloaders_every_n_epochs: int

    @property
    def validates(self) -> bool:
        """Whether there is any validation."""
        return self.limit_val_batches != 0

    @property
    def is_endless(self) -> bool:
        """Whether no number of epochs or steps ends the run."""
        no_epochs = self.max_epochs == -1 or (self.max_epochs is None and bool(self.max_time))
        return no_epochs and self.max_steps == -1 and not self.fast_dev_run


@dataclass(frozen=True)
class Config:
    """Everything that a run needs to know, checked.

    Attributes:
        optimizer: `_target_` and the arguments of an optimiser.
        lr_scheduler: `_target_`, the arguments of a schedule, and `interval`; `_target_` None for
            none.
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
    trainer: TrainerConfig
    callbacks: DictConfig
    logger: DictConfig
    seed: int
    ckpt_path: Path | None
    init_from: Path | None

    @property
    def data_parallel(self) -> int:
        """Replicas of the pipeline."""
        return self.engine.data_parallel if isinstance(self.engine, ProcessesConfig) else 1


def plain(config: Config, sections: Collection[str] | None = None) -> dict[str, Any]:
    """Return a config as plain values, every reference replaced by its value.

    Args:
        config: what to return.
        sections: those to return; None for all.
    """
    names = [field.name for field in fields(config)] if sections is None else sections
    return {name: _plain(getattr(config, name)) for name in names}


def by_full_name(settings: Any, name: str = "") -> dict[str, Any]:
    """Return plain settings by their full names, as in {"data.stride": 1}; an empty section as {}.

    Args:
        settings: of a config, or of a section.
        name: of the section.
    """
    if not isinstance(settings, dict) or not settings:
        return {name: settings} if name else {}
    named: dict[str, Any] = {}
    for key, value in settings.items():
        named |= by_full_name(value, f"{name}.{key}" if name else str(key))
    return named


def _plain(value: Any) -> Any:
    if isinstance(value, DictConfig):
        return OmegaConf.to_container(value, resolve=True)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value) if isinstance(value, Path) else value


DATA_SCHEMAS: dict[str, type[Lorenz96Config] | type[CsvConfig]] = {
    "lorenz96": Lorenz96Config,
    "csv": CsvConfig,
}
SCHEMAS = {
    "model": ModelConfig,
    "placement": PlacementConfig,
    "schedule": ScheduleConfig,
    "trainer": TrainerConfig,
}
ENGINE_SCHEMAS: dict[str, type[EngineConfig]] = {
    "threads": EngineConfig,
    "processes": ProcessesConfig,
}
FREE_SECTIONS = ("optimizer", "lr_scheduler", "callbacks", "logger")
"""Sections whose keys are the arguments of somebody else's classes."""


def as_written(value: Any) -> Any:
    """Return a setting's value as one writes it on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | ListConfig):
        return f"[{','.join(str(as_written(each)) for each in value)}]"
    return "null" if value is None else value


def conf_dir() -> Path:
    """Return the folder of the yaml files: in the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return next(path for path in (package / "conf", package.parent / "conf") if path.is_dir())
