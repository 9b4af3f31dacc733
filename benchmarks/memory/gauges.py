"""Gauges: what a step adds to the memory of its process, seen in three ways."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from benchmarks.memory.saved import SavedActivations

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Makes VmHWM begin anew at VmRSS; see proc_pid_clear_refs(5)."""


class Subject(Protocol):
    """Something whose step can be measured."""

    def step(self) -> None:
        """Take one training step."""
        ...

    def tensors(self) -> list[Tensor]:
        """Return what is in memory before the step."""
        ...


def resident_bytes(subject: Subject) -> int:
    """Take a step; return the peak of the resident set above what it was before."""
    gc.collect()
    CLEAR_REFS.write_text(RESET_PEAK)
    before = parse_status(STATUS.read_text(), "VmRSS")
    subject.step()
    return parse_status(STATUS.read_text(), "VmHWM") - before


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
    "resident": resident_bytes,
    "saved": saved_bytes,
    "python": python_bytes,
}


def parse_status(text: str, name: str) -> int:
    """Read a size from the text of /proc/self/status, in bytes."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name}:"))
    size, unit = line.partition(":")[2].split()
    assert unit == "kB"
    return int(size) * 1024
