"""The ways of running a training step that are measured against each other. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.plans import plan_of
from benchmarks.rank_variants import EngineVariant, PeerVariant
from benchmarks.shapes import N_STAGES, Shape
from gru_parallel.placement import Plan, partition

SCHEDULE = "gpipe"


@dataclass(frozen=True)
class WholeGRU:
    """One `nn.GRU` of all the layers.

    Attributes:
        n_threads: intra-op threads of its process.
        n_ranks: processes that run it together.
        is_baseline: whether speed is measured against it.
    """

    n_ranks: ClassVar[int] = 1
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
        n_ranks: see `WholeGRU`.
        is_baseline: see `WholeGRU`.
    """

    n_ranks: ClassVar[int] = 1
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
        """Whether a step of this shape has one row per micro-batch and one time step per chunk."""
        return self.n_micro_batches <= shape.batch_size and self.n_chunks <= shape.n_steps

    def plan(self, shape: Shape) -> Plan:
        """Return the plan of a step of this shape."""
        return plan_of(shape, SCHEDULE, self.n_micro_batches, self.n_chunks)


@dataclass(frozen=True)
class RaggedGRU:
    """One `nn.GRU` of all the layers on sequences of unequal length.

    Attributes:
        n_threads: intra-op threads of its process.
        padded: whether it runs over a padded batch; otherwise over a `PackedSequence`.
        n_ranks: see `WholeGRU`.
    """

    n_ranks: ClassVar[int] = 1

    n_threads: int
    padded: bool = False

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{WholeGRU(self.n_threads).name}, {'padded' if self.padded else 'packed'}"

    @property
    def is_baseline(self) -> bool:
        """Whether speed is measured against it: not where its last states are others."""
        return not self.padded

    def fits(self, shape: Shape) -> bool:
        """Whether a step of this shape can be run so: always."""
        del shape
        return True


@dataclass(frozen=True)
class DropIn:
    """`gru_parallel.GRU` on a `PackedSequence`.

    Attributes:
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        in_thread: whether it runs in the caller's own thread; otherwise on logical CPU devices.
        n_threads: intra-op threads of each thread.
        n_ranks: see `WholeGRU`.
        is_baseline: see `WholeGRU`.
    """

    n_threads: ClassVar[int] = 1
    n_ranks: ClassVar[int] = 1
    is_baseline: ClassVar[bool] = False

    n_micro_batches: int
    n_chunks: int
    in_thread: bool = False

    @property
    def name(self) -> str:
        """How tables call it."""
        where = "1 thread" if self.in_thread else f"{N_STAGES} stages"
        return f"gru_parallel.GRU {where} M={self.n_micro_batches} C={self.n_chunks}"

    def fits(self, shape: Shape) -> bool:
        """Whether a step of this shape has one row per micro-batch and one time step per chunk."""
        return self.n_micro_batches <= shape.batch_size and self.n_chunks <= shape.n_steps

    def device_map(self, num_layers: int) -> list[str] | None:
        """Return the device of each layer, shared out evenly; None for the caller's own thread."""
        if self.in_thread:
            return None
        sizes = partition([1.0] * num_layers, N_STAGES)
        return [f"cpu:{index}" for index, size in enumerate(sizes) for _ in range(size)]


RaggedVariant = RaggedGRU | DropIn
RankVariant = EngineVariant | PeerVariant
Variant = WholeGRU | Pipeline | RaggedVariant | RankVariant
