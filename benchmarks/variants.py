"""What `speed` and `packed` measure: nn.GRU, the pipeline and the drop-in. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.plans import plan_of, schedule_of
from benchmarks.shapes import N_STAGES, Shape
from benchmarks.variant import Variant, cells_fit
from gru_parallel.placement import Plan, partition
from gru_parallel.schedule import simulate


@dataclass(frozen=True)
class WholeGRU(Variant):
    """One `nn.GRU` of all the layers.

    Attributes:
        n_threads: intra-op threads of its process.
    """

    subject: ClassVar[str] = "benchmarks.whole_subject.WholeSubject"
    is_baseline: ClassVar[bool] = True

    n_threads: int

    @property
    def system(self) -> str:
        """See `Variant`."""
        return f"nn.GRU {self.n_threads} thread{'s' if self.n_threads > 1 else ''}"


@dataclass(frozen=True)
class Pipeline(Variant):
    """The threads engine on logical CPU devices.

    Attributes:
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        schedule: by its name.
    """

    subject: ClassVar[str] = "benchmarks.pipeline_subject.PipelineSubject"
    system: ClassVar[str] = "pipeline"

    n_micro_batches: int
    n_chunks: int
    schedule: str = "gpipe"

    @property
    def plan_name(self) -> str:
        """See `Variant`."""
        other = "" if self.schedule == "gpipe" else f"{self.schedule} "
        return f"{other}M={self.n_micro_batches} C={self.n_chunks}"

    def ideal_bubble(self, shape: Shape) -> float:
        """Return the idle share that equal costs would give: without W, (S-1)/(MC+S-1)."""
        return simulate(schedule_of(self.plan(shape)), lambda _: 1.0).bubble

    def fits(self, shape: Shape) -> bool:
        """See `Variant`."""
        return cells_fit(self.n_micro_batches, self.n_chunks, shape)

    def plan(self, shape: Shape) -> Plan:
        """Return the plan of a step of this shape."""
        return plan_of(shape, self.schedule, self.n_micro_batches, self.n_chunks)


@dataclass(frozen=True)
class RaggedGRU(Variant):
    """One `nn.GRU` of all the layers on sequences of unequal length.

    Attributes:
        n_threads: intra-op threads of its process.
        padded: whether it runs over a padded batch; otherwise over a `PackedSequence`.
    """

    subject: ClassVar[str] = "benchmarks.ragged_subject.RaggedSubject"

    n_threads: int
    padded: bool = False

    @property
    def system(self) -> str:
        """See `Variant`."""
        return f"{WholeGRU(self.n_threads).name}, {'padded' if self.padded else 'packed'}"

    @property
    def is_baseline(self) -> bool:
        """See `Variant`: not where its last states are others."""
        return not self.padded


@dataclass(frozen=True)
class DropIn(Variant):
    """`gru_parallel.GRU` on a `PackedSequence`.

    Attributes:
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        in_thread: whether it runs in the caller's own thread; otherwise on logical CPU devices.
        n_threads: intra-op threads of each thread.
    """

    subject: ClassVar[str] = "benchmarks.ragged_subject.RaggedSubject"
    n_threads: ClassVar[int] = 1

    n_micro_batches: int
    n_chunks: int
    in_thread: bool = False

    @property
    def system(self) -> str:
        """See `Variant`."""
        return f"gru_parallel.GRU {'1 thread' if self.in_thread else f'{N_STAGES} stages'}"

    @property
    def plan_name(self) -> str:
        """See `Variant`."""
        return f"M={self.n_micro_batches} C={self.n_chunks}"

    def fits(self, shape: Shape) -> bool:
        """See `Variant`."""
        return cells_fit(self.n_micro_batches, self.n_chunks, shape)

    def device_map(self, num_layers: int) -> list[str] | None:
        """Return the device of each layer, shared out evenly; None for the caller's own thread."""
        if self.in_thread:
            return None
        sizes = partition([1.0] * num_layers, N_STAGES)
        return [f"cpu:{index}" for index, size in enumerate(sizes) for _ in range(size)]


RaggedVariant = RaggedGRU | DropIn
