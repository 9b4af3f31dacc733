"""The ways of running a training step that are measured against each other. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.shapes import N_STAGES, Shape
from gru_parallel.placement import Plan, StagePlan, partition

SCHEDULE = "gpipe"


@dataclass(frozen=True)
class WholeGRU:
    """One `nn.GRU` of all the layers.

    Attributes:
        n_threads: intra-op threads of its process.
        is_baseline: whether speed is measured against it.
    """

    is_baseline: ClassVar[bool] = True

    n_threads: int

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"nn.GRU {self.n_threads} thread{'s' if self.n_threads > 1 else ''}"

    def fits(self, shape: Shape) -> bool:
        """Whether a step of this shape can be run so: always."""
        del shape
        return True


@dataclass(frozen=True)
class Pipeline:
    """The threads engine on logical CPU devices.

    Attributes:
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        is_baseline: see `WholeGRU`.
    """

    is_baseline: ClassVar[bool] = False

    n_micro_batches: int
    n_chunks: int

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"pipeline M={self.n_micro_batches} C={self.n_chunks}"

    @property
    def ideal_bubble(self) -> float:
        """The idle share that equal costs would give: (S-1)/(MC+S-1)."""
        return (N_STAGES - 1) / (self.n_micro_batches * self.n_chunks + N_STAGES - 1)

    def fits(self, shape: Shape) -> bool:
        """Whether a step of this shape has a row a micro-batch and a time step a chunk."""
        return self.n_micro_batches <= shape.batch_size and self.n_chunks <= shape.n_steps

    def plan(self, shape: Shape) -> Plan:
        """Return the plan: one layer a block, as even stages as there can be."""
        sizes = partition([1.0] * shape.num_layers, N_STAGES)
        stages = tuple(
            StagePlan(f"cpu:{index}", sum(sizes[:index]), size) for index, size in enumerate(sizes)
        )
        return Plan(
            num_layers=shape.num_layers,
            layers_per_block=1,
            stages=stages,
            schedule=SCHEDULE,
            n_micro_batches=self.n_micro_batches,
            n_chunks=self.n_chunks,
        )


Variant = WholeGRU | Pipeline
