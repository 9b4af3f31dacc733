"""Where each block runs: costs, devices, and the plan that joins them. Imports no torch."""

from gru_parallel.placement.cluster import Cluster, Device, Link
from gru_parallel.placement.cost import LayerCost, costs_by_block, gru_layer_cost, linear_cost
from gru_parallel.placement.device_map import parse_device_map
from gru_parallel.placement.partition import partition
from gru_parallel.placement.plan import Plan, StagePlan

__all__ = [
    "Cluster",
    "Device",
    "LayerCost",
    "Link",
    "Plan",
    "StagePlan",
    "costs_by_block",
    "gru_layer_cost",
    "linear_cost",
    "parse_device_map",
    "partition",
]
