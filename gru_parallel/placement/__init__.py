"""Where each block runs: costs, devices, and the plan that joins them. Imports no torch."""

from gru_parallel.placement.cluster import Cluster, Device, Link, Machine, Speed
from gru_parallel.placement.cost import LayerCost, block_costs, gru_layer_cost, linear_cost
from gru_parallel.placement.device_map import parse_device_map, spread
from gru_parallel.placement.grid import Grid
from gru_parallel.placement.model_spec import BlockSpec, ModelSpec, cut_stack
from gru_parallel.placement.partition import partition
from gru_parallel.placement.plan import Plan, StagePlan

__all__ = [
    "BlockSpec",
    "Cluster",
    "Device",
    "Grid",
    "LayerCost",
    "Link",
    "Machine",
    "ModelSpec",
    "Plan",
    "Speed",
    "StagePlan",
    "block_costs",
    "cut_stack",
    "gru_layer_cost",
    "linear_cost",
    "parse_device_map",
    "partition",
    "spread",
]
