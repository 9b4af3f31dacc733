"""The typed schema of conf/: what a config holds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf

from gru_parallel.choices import AUTO, CORES, HEAD_TASKS, LAST, RECOMPUTE
from gru_parallel.rules import (
    ABOVE_0,
    AT_LEAST_0,
    SECONDS,
    SEED,
    Count,
    CountOrAuto,
    Directions,
    Interval,
    PartOfBatches,
    Policies,
    Rule,
    RunLength,
    Time,
    one_of,
)
from gru_parallel.rules import (
    as_written as as_written,
)
from gru_parallel.rules import (
    setting_of as setting_of,
)


@dataclass
class DataConfig:
    """conf/data: see the comments there for what each setting means."""

    name: str
    target: Any
    input_length: Count
    horizon: Count
    batch_size: Count
    stride: Count
    min_input_length: Count | None
    split: list[float]
    split_by: Annotated[str, one_of("time", "series")]
    order: Annotated[str, one_of("shuffled", "streams")]
    centre: Annotated[str, one_of("last", "none")]
    season_length: Count | None
    num_workers: Annotated[int, AT_LEAST_0]


@dataclass
class Lorenz96Config(DataConfig):
    """conf/data/lorenz96.yaml."""

    n_steps: int
    n_channels: int
    forcing: float
    dt: float
    seed: Annotated[int, SEED]


@dataclass
class CsvConfig(DataConfig):
    """conf/data/csv.yaml."""

    path: str
    columns: list[str] | None
    time_column: Any
    series_column: str | None
    missing: Annotated[str, one_of("error", "interpolate", "drop")]
    frequency: str | None
    separator: str
    decimal: str
    thousands: str | None


@dataclass
class ModelConfig:
    """conf/model."""

    num_layers: Count
    layers_per_block: Count
    hidden_size: Count
    dropout: Annotated[
        float, Rule("is out of range; use 0 <= model.dropout < 1.", lambda v: 0 <= v < 1)
    ]
    bidirectional: Directions
    h_0: Policies
    core: Annotated[str, one_of(*CORES)]
    encoder: Annotated[str, one_of("linear", "none")]
    head: Annotated[str, one_of(*HEAD_TASKS)]
    loss: Annotated[str, one_of("mse", "mae", "huber")]


@dataclass
class PlacementConfig:
    """conf/placement."""

    device_map: Any
    merge: bool
    path: str | None


@dataclass
class ScheduleConfig:
    """conf/schedule."""

    name: str
    n_micro_batches: CountOrAuto
    n_chunks: CountOrAuto
    truncate: Count | None
    recompute: Annotated[str, one_of(AUTO, *RECOMPUTE)]


@dataclass
class LocalCluster:
    """conf/cluster/local.yaml: the devices of this machine."""

    name: str


@dataclass
class ClusterFile(LocalCluster):
    """conf/cluster/file.yaml: a file with the settings of `DescribedCluster`."""

    path: str


@dataclass
class LinkConfig:
    """What connects two devices."""

    latency_us: Annotated[float, AT_LEAST_0]
    gigabytes_per_s: Annotated[float, ABOVE_0]


@dataclass
class DevicesConfig:
    """Equal devices of a machine; a speed that is not given is that of their kind."""

    kind: str
    count: Count = 1
    memory_gib: Annotated[float, ABOVE_0] | None = None
    flops_per_s: Annotated[float, ABOVE_0] | None = None
    bytes_per_s: Annotated[float, ABOVE_0] | None = None
    cell_ms: Annotated[float, AT_LEAST_0] | None = None
    step_ms: Annotated[float, AT_LEAST_0] | None = None


@dataclass
class MachinesConfig:
    """Equal machines.

    Attributes:
        devices: of each machine, of `DevicesConfig`.
    """

    devices: list[Any]
    count: Count = 1
    n_cores: Count | None = None
    memory_gib: Annotated[float, ABOVE_0] | None = None


@dataclass
class DescribedCluster(LocalCluster):
    """The other files of conf/cluster: devices that need not be here.

    Attributes:
        machines: of `MachinesConfig`.
        inside: of `LinkConfig`, links two devices of one machine; None for threads on CPUs.
        between: of `LinkConfig`, links two machines; None for one machine.
    """

    machines: list[Any]
    inside: Any = None
    between: Any = None


@dataclass
class EngineConfig:
    """conf/engine/threads.yaml."""

    name: str
    graphs: Annotated[bool | str, one_of("auto", True, False)]
    tf32: bool | None


@dataclass
class ProcessesConfig(EngineConfig):
    """conf/engine/processes.yaml."""

    data_parallel: CountOrAuto
    timeout_s: Annotated[float, SECONDS]


@dataclass
class TrainerConfig:
    """conf/trainer: the arguments of Lightning's Trainer that a user may set."""

    max_epochs: RunLength | None
    min_epochs: Count | None
    max_steps: RunLength
    min_steps: Count | None
    max_time: Time | None
    precision: Any
    gradient_clip_val: Annotated[float, AT_LEAST_0] | None
    gradient_clip_algorithm: Annotated[str, one_of("norm", "value")] | None
    accumulate_grad_batches: Count
    log_every_n_steps: Count
    val_check_interval: Interval | None
    check_val_every_n_epoch: Count | None
    num_sanity_val_steps: Annotated[
        int, Rule("is out of range; use 0 or more, or -1 for all.", lambda v: v >= -1)
    ]
    limit_train_batches: (
        Annotated[PartOfBatches, Rule("leaves no batch; use a number above 0.", lambda v: v != 0)]
        | None
    )
    limit_val_batches: PartOfBatches | None
    limit_test_batches: PartOfBatches | None
    limit_predict_batches: PartOfBatches | None
    overfit_batches: PartOfBatches
    fast_dev_run: Annotated[
        int | bool, Rule("is out of range; use true, or a number of batches.", lambda v: v >= 0)
    ]
    deterministic: Annotated[bool | str, one_of(True, False, "warn")] | None
    benchmark: bool | None
    inference_mode: bool
    # PyTorch's profiler needs hooks on modules, which a pipeline does not call as a whole.
    profiler: Annotated[str, one_of("simple", "advanced")] | None
    detect_anomaly: bool
    enable_checkpointing: bool
    enable_progress_bar: bool
    enable_model_summary: bool
    reload_dataloaders_every_n_epochs: Annotated[int, AT_LEAST_0]

    @property
    def is_endless(self) -> bool:
        """Whether the run has no limit of epochs or steps."""
        no_epochs = self.max_epochs == -1 or (self.max_epochs is None and bool(self.max_time))
        return no_epochs and self.max_steps == -1 and not self.fast_dev_run


@dataclass
class CheckpointConfig:
    """The section checkpoint of conf/config.yaml."""

    # As a word of Python's, `async` itself cannot be the name of a field.
    async_: bool
    every_n_train_steps: Count | None
    train_time_interval: Time | None


@dataclass
class WatchConfig:
    """The section watch of conf/config.yaml."""

    every_s: Annotated[float, SECONDS] | None
    stalled_after_s: Annotated[float, SECONDS] | None


@dataclass(frozen=True)
class Config:
    """All settings of a run, checked.

    Attributes:
        cluster: the devices of this machine, or others; of a file, what is in it.
        optimizer: `_target_` and the arguments of an optimiser.
        lr_scheduler: `_target_`, the arguments of a schedule, and `interval`; `_target_` None for
            none.
        callbacks: by name, `_target_` and arguments.
        logger: by name, `_target_` and arguments.
        init_from_scaling: by what columns are standardised with init_from, one of `SCALINGS`.
        plan: where the times of layers come from, one of `COST_SOURCES`.
    """

    cluster: LocalCluster | DescribedCluster
    data: Lorenz96Config | CsvConfig
    model: ModelConfig
    placement: PlacementConfig
    schedule: ScheduleConfig
    engine: EngineConfig | ProcessesConfig
    optimizer: DictConfig
    lr_scheduler: DictConfig
    trainer: TrainerConfig
    checkpoint: CheckpointConfig
    watch: WatchConfig
    callbacks: DictConfig
    logger: DictConfig
    seed: int
    ckpt_path: Path | None
    init_from: Path | None
    init_from_scaling: str
    plan: str

    @property
    def asks_for_last(self) -> bool:
        """Whether the newest good checkpoint in the folder of the run is to be resumed from."""
        return self.ckpt_path == Path(LAST)

    @property
    def data_parallel(self) -> int:
        """Replicas of the pipeline; one as long as the planner has not said how many."""
        asked = self.engine.data_parallel if isinstance(self.engine, ProcessesConfig) else 1
        return 1 if asked == AUTO else int(asked)

    @property
    def no_validation(self) -> str | None:
        """The setting that leaves out validation; None if there is one."""
        return self._left_out("validation", 1, "val")

    @property
    def no_test(self) -> str | None:
        """The setting that leaves out the test; None if there is one."""
        return self._left_out("test", 2, "test")

    def _left_out(self, part: str, index: int, name: str) -> str | None:
        limit = f"trainer.limit_{name}_batches"
        if getattr(self.trainer, f"limit_{name}_batches") == 0:
            return f"{limit}=0"
        if 0.0 in self.data.split[index : index + 1]:
            shares = [int(s) if float(s).is_integer() else s for s in self.data.split]
            return f"data.split={as_written(shares)}"
        return None


def plain(config: Config, sections: Collection[str] | None = None) -> dict[str, Any]:
    """Return a config as plain values, every reference replaced by its value.

    Args:
        config: what to return.
        sections: those to return; None for all.
    """
    names = [field.name for field in fields(config)] if sections is None else sections
    return {name: _plain(getattr(config, name)) for name in names}


def by_full_name(settings: Any, name: str = "") -> dict[str, Any]:
    """Return the plain settings of a section by their full names, as in {"data.stride": 1}."""
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
        return asdict(value, dict_factory=_by_setting)
    return str(value) if isinstance(value, Path) else value


def _by_setting(fields_: list[tuple[str, Any]]) -> dict[str, Any]:
    return {setting_of(name): value for name, value in fields_}


SCHEMAS: dict[str, dict[str, type[Any]]] = {
    "cluster": {
        "local": LocalCluster,
        "8xh100": DescribedCluster,
        "2x8xh100": DescribedCluster,
        "4xa100": DescribedCluster,
        "file": ClusterFile,
    },
    "checkpoint": {"": CheckpointConfig},
    "data": {"lorenz96": Lorenz96Config, "csv": CsvConfig},
    "engine": {"threads": EngineConfig, "processes": ProcessesConfig},
    "model": {"": ModelConfig},
    "placement": {"": PlacementConfig},
    "schedule": {"": ScheduleConfig},
    "trainer": {"": TrainerConfig},
    "watch": {"": WatchConfig},
}
"""The schema of each section, by its name if there are several."""

FREE_SECTIONS = ("optimizer", "lr_scheduler", "callbacks", "logger")
"""Sections whose keys are the arguments of classes outside of this library."""
