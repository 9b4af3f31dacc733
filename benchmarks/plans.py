"""The plan of every pipeline that is measured: as even stages as there can be, on two devices."""

from __future__ import annotations

from benchmarks.shapes import N_STAGES, Shape
from gru_parallel.placement import Grid, Plan, StagePlan, partition


def plan_of(shape: Shape, schedule: str, n_micro_batches: int, n_chunks: int) -> Plan:
    """Return the plan: one layer per block, as even stages as there can be."""
    sizes = partition([1.0] * shape.num_layers, N_STAGES)
    stages = tuple(
        StagePlan(f"cpu:{index}", sum(sizes[:index]), size) for index, size in enumerate(sizes)
    )
    return Plan(shape.num_layers, Grid(1, schedule, n_micro_batches, n_chunks), stages)
