"""Planning asks placement and schedule: which device runs what, when, and how long it takes."""

from gru_parallel.planning.barriers import barrier_stages, check_reverse_devices, held_shares
from gru_parallel.planning.planner import (
    idle_devices,
    make_plan,
    plan_from_device_map,
    stage_costs,
    stage_times_ms,
)
from gru_parallel.planning.predict import predict
from gru_parallel.planning.rank_map import RankMap, ranks_per_replica

__all__ = [
    "RankMap",
    "barrier_stages",
    "check_reverse_devices",
    "held_shares",
    "idle_devices",
    "make_plan",
    "plan_from_device_map",
    "predict",
    "ranks_per_replica",
    "stage_costs",
    "stage_times_ms",
]
