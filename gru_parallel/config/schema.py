"""The typed schema of conf/: what a config holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig

from gru_parallel.choices import (
    AUTO,
    DEFAULT_QUANTILES,
    DISTRIBUTIONS,
    LAST,
    POINT_LOSSES,
    RECOMPUTE,
)
from gru_parallel.config.cluster_section import ClusterFile, DescribedCluster, LocalCluster
from gru_parallel.config.data_section import CsvConfig, Lorenz96Config, OwnDataConfig
from gru_parallel.config.model_section import ModelConfig
from gru_parallel.config.trainer_section import CheckpointConfig, TrainerConfig, WatchConfig
from gru_parallel.own_names import is_own
from gru_parallel.rules import SECONDS, Count, CountOrAuto, as_written, one_of


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
    data: Lorenz96Config | CsvConfig | OwnDataConfig
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
    def segment_length(self) -> int:
        """Rows of a window that make one step of the stack."""
        return self.model.segment_length or 1

    @property
    def n_steps(self) -> int:
        """Steps of the stack over a window."""
        return self.data.input_length // self.segment_length

    @property
    def n_decoding(self) -> int:
        """Steps after the window that a decoder runs on over; 0 for another head."""
        is_decoder = self.model.head == "decoder"
        return -(-self.data.horizon // self.segment_length) if is_decoder else 0

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Levels of the quantiles that are forecast; () where a forecast is one number."""
        loss, levels = self.model.loss, self.model.quantiles
        is_point = loss in POINT_LOSSES or is_own(loss)
        return () if is_point else tuple(DEFAULT_QUANTILES if levels is None else levels)

    @property
    def n_numbers(self) -> int:
        """Numbers that the head gives for each value that is forecast."""
        return DISTRIBUTIONS.get(self.model.loss) or max(1, len(self.quantiles))

    @property
    def validation_path(self) -> str | None:
        """The file of series to validate on; None for a part of those that are split."""
        return self.data.validation_path if isinstance(self.data, CsvConfig) else None

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
        if part == "validation" and self.validation_path is not None:
            return None
        if 0.0 in self.data.split[index : index + 1]:
            shares = [int(s) if float(s).is_integer() else s for s in self.data.split]
            return f"data.split={as_written(shares)}"
        return None


SCHEMAS: dict[str, dict[str, type[Any]]] = {
    "cluster": {
        "local": LocalCluster,
        "8xh100": DescribedCluster,
        "2x8xh100": DescribedCluster,
        "4xa100": DescribedCluster,
        "file": ClusterFile,
    },
    "checkpoint": {"": CheckpointConfig},
    "data": {"lorenz96": Lorenz96Config, "csv": CsvConfig, "own": OwnDataConfig},
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
