"""What `processes` measures: engines of this library and the peer, by plan. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from benchmarks.plans import plan_of
from benchmarks.shapes import N_STAGES, Shape
from gru_parallel.placement import Plan


class Runner(StrEnum):
    """Which engine of this library runs a plan."""

    THREADS = "threads"
    PROCESSES = "processes"


@dataclass(frozen=True)
class EngineVariant:
    """An engine of this library on two stages.

    Attributes:
        runner: which.
        schedule: by its name in this library.
        n_micro_batches: slices of the batch.
        n_chunks: slices of time.
        is_baseline: see `WholeGRU`.
    """

    is_baseline: ClassVar[bool] = False

    runner: Runner
    schedule: str
    n_micro_batches: int
    n_chunks: int = 1

    @property
    def n_ranks(self) -> int:
        """Processes that run it together."""
        return N_STAGES if self.runner is Runner.PROCESSES else 1

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{self.runner} {self.plan_name}"

    @property
    def plan_name(self) -> str:
        """How tables call its plan."""
        return f"{self.schedule} M={self.n_micro_batches} C={self.n_chunks}"

    @property
    def peer(self) -> PeerVariant | None:
        """The peer's variant of the same plan; None where it has none."""
        own = PeerVariant(self.schedule, self.n_micro_batches)
        return own if self.n_chunks == 1 and own.is_possible else None

    def fits(self, shape: Shape) -> bool:
        """Whether a step of this shape has one row per micro-batch and one time step per chunk."""
        return self.n_micro_batches <= shape.batch_size and self.n_chunks <= shape.n_steps

    def plan(self, shape: Shape) -> Plan:
        """Return the plan of a step of this shape."""
        return plan_of(shape, self.schedule, self.n_micro_batches, self.n_chunks)


@dataclass(frozen=True)
class PeerVariant:
    """`torch.distributed.pipelining` on two stages, a rank each.

    Attributes:
        schedule: by its name in this library: `gpipe` or `one_f_one_b`.
        n_micro_batches: slices of the batch.
        n_ranks: processes that run it together.
        is_baseline: whether speed is measured against it.
    """

    n_ranks: ClassVar[int] = N_STAGES
    is_baseline: ClassVar[bool] = True

    schedule: str
    n_micro_batches: int

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"torch pipelining {self.schedule} M={self.n_micro_batches}"

    @property
    def is_possible(self) -> bool:
        """Whether the peer runs it at all: its 1F1B refuses fewer micro-batches than stages."""
        return self.schedule == "gpipe" or self.n_micro_batches >= N_STAGES

    def fits(self, shape: Shape) -> bool:
        """Whether all micro-batches have the same number of rows, as the peer needs them."""
        return self.is_possible and shape.batch_size % self.n_micro_batches == 0
