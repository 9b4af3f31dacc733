"""Gauges: what a step adds to the memory of its process, seen in three ways."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from benchmarks.memory.saved import SavedActivations
from benchmarks.resident import resident_bytes


class Subject(Protocol):
    """Something whose step can be measured."""

    def step(self) -> None:
        """Take one training step."""
        ...

    def tensors(self) -> list[Tensor]:
        """Return what is in memory before the step."""
        ...


def saved_bytes(subject: Subject) -> int:
    """Take a step; return what autograd saved for backward: each stage's peak, added up."""
    with SavedActivations(subject.tensors()) as saved:
        subject.step()
    return saved.peak_bytes


def python_bytes(subject: Subject) -> int:
    """Take a step; return the peak of what Python's own objects took."""
    tracemalloc.start()
    try:
        subject.step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


GAUGES: dict[str, Callable[[Subject], int]] = {
    "resident": lambda subject: resident_bytes(subject.step),
    "saved": saved_bytes,
    "python": python_bytes,
}
