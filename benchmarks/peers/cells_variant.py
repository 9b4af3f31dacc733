"""CellsVariant: the cells of one stage, without an engine and in one thread. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from benchmarks.plans import plan_of
from benchmarks.shapes import Shape
from benchmarks.variant import Variant
from gru_parallel.placement import Plan


@dataclass(frozen=True)
class CellsVariant(Variant):
    """F and B of all layers, called directly.

    Attributes:
        core: what computes a layer, by its name; None for what the library takes by itself.
        chunk_steps: time steps of a chunk at most; None for one chunk.
    """

    subject: ClassVar[str] = "benchmarks.peers.cells_subject.CellsSubject"

    core: str | None
    chunk_steps: int | None = None

    @property
    def system(self) -> str:
        """See `Variant`."""
        return "this library" if self.core is None else self.core

    @property
    def plan_name(self) -> str:
        """See `Variant`."""
        return "uncut" if self.chunk_steps is None else f"in chunks of {self.chunk_steps}"

    def plan(self, shape: Shape) -> Plan:
        """Return the plan of a step of this shape: one stage."""
        n_chunks = 1 if self.chunk_steps is None else ceil(shape.n_steps / self.chunk_steps)
        return plan_of(shape, "gpipe", 1, n_chunks, n_stages=1)
