"""Planning asks placement and schedule: which device runs what, when, and how long it takes."""

from gru_parallel.planning.alternatives import (
    Alternative,
    CurvePoint,
    alternatives,
    device_counts,
    pays_until,
    scaling_curve,
)
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.planning.default_chunks import CPU_CHUNKS, default_chunks
from gru_parallel.planning.options import Options
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.planner import (
    check_reverse_devices,
    check_weights_can_wait,
    make_plan,
    plan_from_device_map,
)
from gru_parallel.planning.predict import predict
from gru_parallel.planning.problem import Problem
from gru_parallel.planning.rank_map import RankMap, ranks_per_replica
from gru_parallel.planning.search import Found, search

__all__ = [
    "CPU_CHUNKS",
    "Alternative",
    "CurvePoint",
    "Found",
    "Options",
    "Planned",
    "Problem",
    "RankMap",
    "Workload",
    "alternatives",
    "check_reverse_devices",
    "check_weights_can_wait",
    "default_chunks",
    "device_counts",
    "make_plan",
    "pays_until",
    "plan_from_device_map",
    "predict",
    "ranks_per_replica",
    "scaling_curve",
    "search",
]
