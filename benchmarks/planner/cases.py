"""The models that are planned, and the plans whose steps are measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.shapes import Shape
from gru_parallel.placement import Grid, Plan, StagePlan

SHAPES = (
    Shape(64, 64, 48, 4),
    Shape(128, 32, 96, 4),
    Shape(256, 32, 96, 4),
    Shape(128, 4, 512, 4),
    Shape(32, 128, 96, 8),
    Shape(128, 16, 192, 6),
    Shape(64, 8, 256, 2),
    Shape(8, 4, 24, 2),
)
"""From one like the default model to one that is too small to be split."""

QUICK_SHAPES = (Shape(4, 4, 8, 2),)

N_CHUNKS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class TriedPlan:
    """A plan of a sweep.

    Attributes:
        n_stages: one or two.
        schedule: name of the schedule.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        core: how layers compute a chunk.
        recompute: what B runs again.
        n_first_layers: of the first of two stages; 0 for half of them, rounded down.
    """

    n_stages: int
    schedule: str
    n_micro_batches: int
    n_chunks: int
    core: str = "auto"
    recompute: str = "none"
    n_first_layers: int = 0

    def plan(self, shape: Shape) -> Plan:
        """Cut the model."""
        layers = shape.num_layers
        n_first = self.n_first_layers or layers // 2
        sizes = (layers,) if self.n_stages == 1 else (n_first, layers - n_first)
        stages = tuple(
            StagePlan(f"cpu:{index}", sum(sizes[:index]), size) for index, size in enumerate(sizes)
        )
        grid = Grid(
            1,
            self.schedule,
            self.n_micro_batches,
            self.n_chunks,
            recompute=self.recompute,
        )
        return Plan(layers, grid, stages, self.core)

    @classmethod
    def of(cls, plan: Plan) -> TriedPlan:
        """Describe a plan, whatever its devices."""
        grid, n_first = plan.grid, plan.stages[0].n_blocks
        return cls(
            plan.n_stages,
            grid.schedule,
            grid.n_micro_batches,
            grid.n_chunks,
            plan.core,
            grid.recompute,
            0 if plan.n_stages == 1 or n_first == plan.num_layers // 2 else n_first,
        )

    def __str__(self) -> str:
        core = "" if self.core == "auto" else f" {self.core}"
        again = "" if self.recompute == "none" else f" recompute={self.recompute}"
        cells = f"M={self.n_micro_batches} C={self.n_chunks}"
        first = f" {self.n_first_layers} of the layers first" if self.n_first_layers else ""
        return f"S={self.n_stages} {self.schedule} {cells}{core}{again}{first}"


def sweep(shape: Shape) -> list[TriedPlan]:
    """List what is tried of a model: every way to cut time and batch that could be the best."""
    return [
        tried
        for tried in _all_tried()
        if tried.n_chunks <= shape.n_steps and tried.n_micro_batches <= shape.batch_size
    ]


def _all_tried() -> Iterator[TriedPlan]:
    for n_chunks in (1, 4, 16):
        yield TriedPlan(1, "one_f_one_b", 1, n_chunks)
    for schedule in ("one_f_one_b", "zero_bubble"):
        for n_micro_batches in (1, 2):
            for n_chunks in N_CHUNKS:
                yield TriedPlan(2, schedule, n_micro_batches, n_chunks)
        yield TriedPlan(2, schedule, 4, 1)
        yield TriedPlan(2, schedule, 4, 4)
        yield TriedPlan(2, schedule, 1, 8, "lean")
    yield TriedPlan(2, "one_f_one_b", 1, 8, recompute="cell")
    yield TriedPlan(2, "gpipe", 2, 4)
