"""The schema of the section model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gru_parallel.choices import CORES, HEAD_TASKS, LOSS_NAMES, NORMS
from gru_parallel.rules import (
    AT_LEAST_1,
    QUANTILES,
    Count,
    Directions,
    Policies,
    Rule,
    at_most,
    one_of,
    one_of_or_own,
)


@dataclass
class ModelConfig:
    """conf/model."""

    num_layers: Annotated[int, AT_LEAST_1, at_most(1000)]
    layers_per_block: Count
    hidden_size: Count
    dropout: Annotated[
        float, Rule("is out of range; use 0 <= model.dropout < 1.", lambda v: 0 <= v < 1)
    ]
    residual: bool
    norm: Annotated[str, one_of(*NORMS)]
    bidirectional: Directions
    h_0: Policies
    core: Annotated[str, one_of_or_own(*CORES)]
    encoder: Annotated[str, one_of("linear", "segments", "none")]
    segment_length: Count | None
    per_channel: bool
    head: Annotated[str, one_of_or_own(*HEAD_TASKS)]
    loss: Annotated[str, one_of_or_own(*LOSS_NAMES)]
    quantiles: Annotated[list[float], QUANTILES] | None
