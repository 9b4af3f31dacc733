"""The schemas of the sections trainer, checkpoint and watch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from gru_parallel.rules import (
    AT_LEAST_0,
    SECONDS,
    Count,
    Interval,
    PartOfBatches,
    Rule,
    RunLength,
    Time,
    one_of,
)

_PRECISIONS = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
"""What Lightning takes its older names for."""


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

    def __post_init__(self) -> None:
        self.precision = _PRECISIONS.get(str(self.precision), self.precision)

    @property
    def scales_loss(self) -> bool:
        """Whether the loss is multiplied by a scale, so that gradients are not 0 in float16."""
        return str(self.precision) == "16-mixed"

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
