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
from gru_parallel.planning.rank_map import n_places, places_of_stages

__all__ = [
    "barrier_stages",
    "check_reverse_devices",
    "held_shares",
    "idle_devices",
    "make_plan",
    "n_places",
    "places_of_stages",
    "plan_from_device_map",
    "predict",
    "stage_costs",
    "stage_times_ms",
]
