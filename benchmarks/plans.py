"""The plan of every pipeline that is measured: as even stages as there can be."""

from __future__ import annotations

from typing import Any

from benchmarks.shapes import N_STAGES, Shape
from gru_parallel.placement import Grid, Plan, StagePlan, partition
from gru_parallel.schedule import Schedule, build_schedule


def plan_of(
    shape: Shape,
    schedule: str,
    n_micro_batches: int,
    n_chunks: int,
    *,
    n_stages: int = N_STAGES,
    **grid: Any,
) -> Plan:
    """Return the plan: one layer per block, a logical CPU device per stage.

    Args:
        shape: the size of the step.
        schedule: by its name.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        n_stages: how many.
        grid: other fields of the `Grid`.
    """
    sizes = partition([1.0] * shape.num_layers, n_stages)
    stages = tuple(
        StagePlan(f"cpu:{index}", sum(sizes[:index]), size) for index, size in enumerate(sizes)
    )
    return Plan(shape.num_layers, Grid(1, schedule, n_micro_batches, n_chunks, **grid), stages)


def schedule_of(plan: Plan) -> Schedule:
    """Return the schedule of a plan that has no barrier in time."""
    grid = plan.grid
    return build_schedule(grid.schedule, plan.n_stages, grid.n_micro_batches, grid.n_chunks)
