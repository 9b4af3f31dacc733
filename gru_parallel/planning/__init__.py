"""Planning asks placement and schedule: which device runs what, when, and how long it takes."""

from gru_parallel.planning.default_chunks import CPU_CHUNKS, default_chunks
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.planner import (
    check_reverse_devices,
    check_weights_can_wait,
    make_plan,
    plan_from_device_map,
)
from gru_parallel.planning.predict import predict
from gru_parallel.planning.rank_map import RankMap, ranks_per_replica

__all__ = [
    "CPU_CHUNKS",
    "Planned",
    "RankMap",
    "check_reverse_devices",
    "check_weights_can_wait",
    "default_chunks",
    "make_plan",
    "plan_from_device_map",
    "predict",
    "ranks_per_replica",
]
