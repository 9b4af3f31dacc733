"""What `peers` measures: this library's engines and others, by plan. Knows no torch."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from benchmarks.peers.build import Build
from benchmarks.plans import plan_of
from benchmarks.shapes import N_STAGES, Shape
from benchmarks.variant import Variant, cells_fit
from gru_parallel.placement import Plan


class Runner(StrEnum):
    """Which engine of this library runs a plan."""

    THREADS = "threads"
    PROCESSES = "processes"


def plan_words(schedule: str, n_micro_batches: int, n_chunks: int = 1) -> str:
    """Return how tables call a plan: the same words whoever runs it."""
    chunks = f" C={n_chunks}" if n_chunks > 1 else ""
    return f"{schedule} M={n_micro_batches}{chunks}"


@dataclass(frozen=True)
class EngineVariant(Variant):
    """An engine of this library.

    Attributes:
        runner: which.
        schedule: by its name in this library.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        core: what computes a layer, by its name; None for what the library takes by itself.
        recompute: what backward computes again, by its name; None for nothing.
        build: another build of this library; None for this one.
        n_stages: stages that the layers are cut into.
    """

    subject: ClassVar[str] = "benchmarks.peers.engine_subject.EngineSubject"

    runner: Runner
    schedule: str
    n_micro_batches: int
    n_chunks: int = 1
    core: str | None = None
    recompute: str | None = None
    build: Build | None = None
    n_stages: int = N_STAGES

    @property
    def n_ranks(self) -> int:
        """See `Variant`."""
        return self.n_stages if self.runner is Runner.PROCESSES else 1

    @property
    def import_from(self) -> str | None:
        """See `Variant`."""
        return None if self.build is None else self.build.folder

    @property
    def system(self) -> str:
        """See `Variant`."""
        earlier = None if self.build is None else f"of {self.build.commit}"
        recompute = None if self.recompute is None else f"recompute={self.recompute}"
        return " ".join(filter(None, (self.runner.value, earlier, self.core, recompute)))

    @property
    def plan_name(self) -> str:
        """See `Variant`."""
        return plan_words(self.schedule, self.n_micro_batches, self.n_chunks)

    @property
    def worker(self) -> Hashable:
        """See `Variant`: threads by core and build; all ranks share their processes.

        Ranks watch over each other even while they have nothing to do, and many would disturb.
        """
        return self.runner if self.n_ranks > 1 else (self.runner, self.core, self.build)

    def fits(self, shape: Shape) -> bool:
        """See `Variant`."""
        return cells_fit(self.n_micro_batches, self.n_chunks, shape)

    def plan(self, shape: Shape) -> Plan:
        """Return the plan of a step of this shape."""
        # An earlier build has grids without it.
        grid: dict[str, Any] = {} if self.recompute is None else {"recompute": self.recompute}
        sizes = (self.n_micro_batches, self.n_chunks)
        return plan_of(shape, self.schedule, *sizes, n_stages=self.n_stages, **grid)


@dataclass(frozen=True)
class TorchPipelining(Variant):
    """`torch.distributed.pipelining` on two stages, a rank each.

    Attributes:
        schedule: by its name in this library: `gpipe` or `one_f_one_b`.
        n_micro_batches: slices of the batch.
    """

    subject: ClassVar[str] = "benchmarks.peers.pipelining_subject.PipeliningSubject"
    system: ClassVar[str] = "torch pipelining"
    n_ranks: ClassVar[int] = N_STAGES
    worker: ClassVar[str] = "torch pipelining"

    schedule: str
    n_micro_batches: int

    @property
    def plan_name(self) -> str:
        """See `Variant`."""
        return plan_words(self.schedule, self.n_micro_batches)

    def fits(self, shape: Shape) -> bool:
        """See `Variant`: all micro-batches need the same rows, and 1F1B one for each stage."""
        if self.schedule != "gpipe" and self.n_micro_batches < N_STAGES:
            return False
        return shape.batch_size % self.n_micro_batches == 0


@dataclass(frozen=True)
class ModelParallel(Variant):
    """Two `nn.GRU`s of half the layers one after the other, each on a device of its own."""

    subject: ClassVar[str] = "benchmarks.peers.model_parallel_subject.ModelParallelSubject"
    system: ClassVar[str] = "model parallel"


@dataclass(frozen=True)
class TorchGPipe(Variant):
    """`torchgpipe.GPipe` over the same two `nn.GRU`s, without checkpoints.

    Attributes:
        n_micro_batches: slices of the batch.
    """

    subject: ClassVar[str] = "benchmarks.peers.model_parallel_subject.TorchGPipeSubject"
    system: ClassVar[str] = "torchgpipe"
    worker: ClassVar[str] = "torchgpipe"

    n_micro_batches: int

    @property
    def plan_name(self) -> str:
        """See `Variant`."""
        return plan_words("gpipe", self.n_micro_batches)

    def fits(self, shape: Shape) -> bool:
        """See `Variant`."""
        return self.n_micro_batches <= shape.batch_size
