"""What takes a training step: what is kept for backward, and how long the sequences are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gru_parallel.placement import Grid, Plan, StagePlan

NUM_LAYERS, HIDDEN_SIZE, BATCH_SIZE, N_CHANNELS = 4, 64, 8, 1
STEPS_A_CHUNK = 100
SCHEDULE = "one_f_one_b"


class Kind(StrEnum):
    """Who takes the step, what it keeps, and how far gradients flow back.

    The value is how tables call it.
    """

    WHOLE = "nn.GRU"
    PIPELINE = "pipeline"
    LEAN = "pipeline, lean"
    TRUNCATED = "pipeline, truncate=1"
    RECOMPUTED = "pipeline, recompute=cell"
    ONE_STAGE = "one stage, recompute=cell"


RECOMPUTING = (Kind.RECOMPUTED, Kind.ONE_STAGE)


@dataclass(frozen=True)
class Case:
    """One training step.

    Attributes:
        kind: who takes it.
        n_steps: time steps of the sequences, a multiple of `STEPS_A_CHUNK`.
    """

    kind: Kind
    n_steps: int

    def __str__(self) -> str:
        return f"{self.kind}, T={self.n_steps:,}"

    @property
    def n_chunks(self) -> int:
        """Slices of time."""
        return self.n_steps // STEPS_A_CHUNK

    @property
    def core(self) -> str:
        """What computes a layer of a pipeline, by its name."""
        return "lean" if self.kind is Kind.LEAN else "auto"

    @property
    def plan(self) -> Plan:
        """The plan of a pipeline: two stages of two layers each, or one."""
        truncate = 1 if self.kind is Kind.TRUNCATED else None
        recompute = "cell" if self.kind in RECOMPUTING else "none"
        grid = Grid(1, SCHEDULE, 1, self.n_chunks, truncate, recompute)
        if self.kind is Kind.ONE_STAGE:
            return Plan(NUM_LAYERS, grid, (StagePlan("cpu:0", 0, NUM_LAYERS),))
        return Plan(NUM_LAYERS, grid, (StagePlan("cpu:0", 0, 2), StagePlan("cpu:1", 2, 2)))


ALL_CASES = (
    *(Case(Kind.WHOLE, n_steps) for n_steps in (1_000, 10_000)),
    *(Case(Kind.PIPELINE, n_steps) for n_steps in (1_000, 10_000)),
    *(Case(Kind.LEAN, n_steps) for n_steps in (1_000, 10_000)),
    *(Case(Kind.TRUNCATED, n_steps) for n_steps in (1_000, 10_000, 100_000)),
    *(Case(Kind.RECOMPUTED, n_steps) for n_steps in (1_000, 10_000, 100_000)),
    Case(Kind.ONE_STAGE, 10_000),
)
QUICK_CASES = (
    Case(Kind.WHOLE, 400),
    Case(Kind.PIPELINE, 400),
    Case(Kind.LEAN, 400),
    *(Case(Kind.TRUNCATED, n_steps) for n_steps in (400, 800)),
    *(Case(kind, 400) for kind in RECOMPUTING),
)
