"""Where each block runs: costs, devices, and the plan that joins them. Imports no torch."""

from gru_parallel.placement.barriers import (
    barrier_stages,
    check_reverse_devices,
    held_shares,
)
from gru_parallel.placement.cluster import Cluster, Device, Link
from gru_parallel.placement.cost import LayerCost, costs_by_block, gru_layer_cost, linear_cost
from gru_parallel.placement.device_map import parse_device_map
from gru_parallel.placement.partition import partition
from gru_parallel.placement.plan import Plan, StagePlan
from gru_parallel.placement.planner import (
    idle_devices,
    make_plan,
    plan_from_device_map,
    stage_costs,
    stage_times_ms,
)
from gru_parallel.placement.ranks import n_places, places_of_stages

__all__ = [
    "Cluster",
    "Device",
    "LayerCost",
    "Link",
    "Plan",
    "StagePlan",
    "barrier_stages",
    "check_reverse_devices",
    "costs_by_block",
    "gru_layer_cost",
    "held_shares",
    "idle_devices",
    "linear_cost",
    "make_plan",
    "n_places",
    "parse_device_map",
    "partition",
    "places_of_stages",
    "plan_from_device_map",
    "stage_costs",
    "stage_times_ms",
]
