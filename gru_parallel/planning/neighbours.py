"""Neighbours: settings that differ from one in one way, and cuts that do in one block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gru_parallel.errors import counted
from gru_parallel.placement.plan import Plan, StagePlan
from gru_parallel.planning.options import Options, Setting


def neighbours(chosen: Setting, options: Options) -> Iterator[tuple[str, Setting]]:
    """Yield settings that differ from the chosen one in one way, with that difference in words."""
    grid = chosen.grid
    for n_stages in sorted({1, chosen.n_stages - 1, chosen.n_stages + 1} - {0, chosen.n_stages}):
        yield counted(n_stages, "stage"), replace(chosen, n_stages=n_stages)
    if chosen.n_stages > 1:
        whole = replace(grid, n_micro_batches=1, n_chunks=1)
        yield "1 stage, nothing cut", replace(chosen, n_stages=1, grid=whole)
    for width in options.data_parallel:
        if width != chosen.data_parallel:
            n_stages = chosen.n_stages * chosen.data_parallel // width
            changed = replace(chosen, n_stages=n_stages, data_parallel=width)
            yield counted(width, "replica"), changed
    for name in options.schedules:
        if name != grid.schedule:
            yield name, replace(chosen, grid=replace(grid, schedule=name))
    for core in options.cores:
        if core != chosen.core:
            yield f"core {core}", replace(chosen, core=core)
    for number in _beside(grid.n_chunks, options.n_chunks):
        yield counted(number, "chunk"), replace(chosen, grid=replace(grid, n_chunks=number))
    for number in _beside(grid.n_micro_batches, options.n_micro_batches):
        words = counted(number, "micro-batch", "es")
        yield words, replace(chosen, grid=replace(grid, n_micro_batches=number))
    for again in options.recompute:
        if again != grid.recompute:
            yield f"recompute={again}", replace(chosen, grid=replace(grid, recompute=again))


def _beside(chosen: int, numbers: tuple[int, ...]) -> list[int]:
    """The next smaller and the next larger number."""
    smaller = [number for number in numbers if number < chosen][-1:]
    return smaller + [number for number in numbers if number > chosen][:1]


def shifted(plan: Plan) -> Iterator[Plan]:
    """Yield the plans in which one block is on the other side of a cut, or two devices change."""
    stages = plan.stages
    for index in range(plan.n_stages - 1):
        before, after = stages[index], stages[index + 1]
        for moved in (-1, 1):
            if before.n_blocks + moved >= 1 and after.n_blocks - moved >= 1:
                pair = (
                    replace(before, n_blocks=before.n_blocks + moved),
                    StagePlan(
                        after.device,
                        after.first_block + moved,
                        after.n_blocks - moved,
                        after.reverse_device,
                    ),
                )
                yield replace(plan, stages=(*stages[:index], *pair, *stages[index + 2 :]))
        pair = (replace(before, device=after.device), replace(after, device=before.device))
        yield replace(plan, stages=(*stages[:index], *pair, *stages[index + 2 :]))
