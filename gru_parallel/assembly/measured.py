"""From the settings to a measured profile: what the parts of a run take on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gru_parallel.assembly.optimizer import optimizer_maker
from gru_parallel.assembly.workload import number_type
from gru_parallel.config.schema import Config
from gru_parallel.engine.tf32 import tf32
from gru_parallel.placement import Cluster
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.planning.profile import Profile
from gru_parallel.profiling.measure import measure
from gru_parallel.profiling.pipelines import Precision

_TYPES = {
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def measure_profile(
    config: Config,
    workload: Workload,
    cluster: Cluster,
    cores: Sequence[str],
    key: Mapping[str, Any],
) -> Profile:
    """Measure the parts of a run.

    Args:
        config: the run's settings.
        workload: what is trained.
        cluster: of this machine.
        cores: that layers are to be measured with.
        key: all that the numbers depend on.
    """
    with tf32(config.engine.tf32), torch.random.fork_rng(devices=[]):
        return measure(
            workload,
            cluster,
            cores,
            key=key,
            precision=_precision(config),
            make_optimizer=optimizer_maker(config.optimizer),
            replays=bool(config.engine.graphs),
        )


def _precision(config: Config) -> Precision:
    computed = _TYPES.get(number_type(config), torch.float32)
    if str(config.trainer.precision).endswith("mixed"):
        return Precision(torch.float32, computed)
    return Precision(computed)
