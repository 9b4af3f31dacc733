"""Variant: a way of running a training step that can be measured. Knows no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable

from benchmarks.shapes import Shape


class Variant(ABC):
    """A way of running a training step; the frozen dataclasses below it say which."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """The class that runs it, called with the variant and a shape.

        By its path, so that a process imports what it runs and nothing else.
        """

    @property
    @abstractmethod
    def system(self) -> str:
        """How tables call what runs the step."""

    @property
    def is_baseline(self) -> bool:
        """Whether speed is measured against it."""
        return False

    @property
    def n_ranks(self) -> int:
        """Processes that run it together."""
        return 1

    @property
    def import_from(self) -> str | None:
        """Folder in which its processes look first for what they import."""
        return None

    @property
    def plan_name(self) -> str:
        """How tables call the way in which it cuts and orders the step; "" where it has one way."""
        return ""

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{self.system} {self.plan_name}".strip()

    @property
    def worker(self) -> Hashable:
        """What has to be equal for two variants to share their processes."""
        return self

    def fits(self, shape: Shape) -> bool:
        """Whether a step of this shape can be run so."""
        del shape
        return True


def cells_fit(n_micro_batches: int, n_chunks: int, shape: Shape) -> bool:
    """Whether a step has one row per micro-batch and one time step per chunk."""
    return n_micro_batches <= shape.batch_size and n_chunks <= shape.n_steps
