"""The numbers of a case, whether memory stays flat, and what recomputation saves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.memory.cases import (
    BATCH_SIZE,
    HIDDEN_SIZE,
    NUM_LAYERS,
    RECOMPUTING,
    Case,
    Kind,
)

BYTES_A_NUMBER = 4

MAX_LEAN = 2.1
"""Times T x B x H a layer that the lean core keeps, its input counted."""

MAX_SHARE = 0.01
"""A time step more may cost so much of what it costs without truncation; the rest is noise."""

MAX_RECOMPUTED = 1 / 20
"""With recompute=cell a step may keep so much of what nn.GRU keeps of a sequence as long."""


@dataclass(frozen=True)
class MemoryNumbers:
    """What a step of one case adds to the memory of its process.

    Attributes:
        case: the step.
        resident_bytes: peak of the resident set above what it was before; one a process.
        saved_bytes: activations saved for backward, the peak of each stage, added up.
        python_bytes: peak of Python's own objects.
        peak_cells: for each stage, the most cells alive at once; () for an nn.GRU.
    """

    case: Case
    resident_bytes: tuple[int, ...]
    saved_bytes: int
    python_bytes: int
    peak_cells: tuple[int, ...]

    @property
    def middle_resident_bytes(self) -> float:
        """The median of the processes."""
        return median(self.resident_bytes)

    @property
    def saved_of_outputs(self) -> float:
        """Activations saved, as a multiple of the outputs of all layers: of T x B x H a layer."""
        outputs = self.case.n_steps * BATCH_SIZE * HIDDEN_SIZE * NUM_LAYERS
        return self.saved_bytes / (BYTES_A_NUMBER * outputs)


@dataclass(frozen=True)
class Growth:
    """How the truncated step grows from the shortest to the longest sequence.

    Attributes:
        first: numbers of the shortest.
        last: numbers of the longest.
        full: numbers of the longest sequence without truncation.
    """

    first: MemoryNumbers
    last: MemoryNumbers
    full: MemoryNumbers

    @property
    def resident_bytes(self) -> float:
        """More in the resident set."""
        return self.last.middle_resident_bytes - self.first.middle_resident_bytes

    @property
    def saved_bytes(self) -> int:
        """More in saved activations."""
        return self.last.saved_bytes - self.first.saved_bytes

    @property
    def python_bytes_a_chunk(self) -> float:
        """More in Python's objects, for each chunk more."""
        n_chunks = self.last.case.n_chunks - self.first.case.n_chunks
        return (self.last.python_bytes - self.first.python_bytes) / n_chunks

    @property
    def bytes_a_step(self) -> float:
        """More in the resident set, for each time step more."""
        return self.resident_bytes / (self.last.case.n_steps - self.first.case.n_steps)

    @property
    def full_bytes_a_step(self) -> float:
        """What a time step takes without truncation."""
        return self.full.middle_resident_bytes / self.full.case.n_steps

    @property
    def resident_is_flat(self) -> bool:
        """Whether a longer sequence takes no more memory worth naming."""
        return self.bytes_a_step <= MAX_SHARE * self.full_bytes_a_step

    @property
    def saved_is_flat(self) -> bool:
        """Whether a longer sequence keeps no more activations alive."""
        return self.saved_bytes <= 0


def growth(numbers: Sequence[MemoryNumbers]) -> Growth:
    """Pick what shows the growth; there are truncated cases of two lengths, and a full one."""
    by_length = sorted(numbers, key=lambda own: own.case.n_steps)
    truncated = [own for own in by_length if own.case.kind is Kind.TRUNCATED]
    full = [own for own in by_length if own.case.kind is Kind.PIPELINE]
    return Growth(truncated[0], truncated[-1], full[-1])


@dataclass(frozen=True)
class Saving:
    """What recomputation keeps of a sequence.

    Attributes:
        own: numbers of the step that recomputes.
        whole: numbers of nn.GRU on a sequence as long.
    """

    own: MemoryNumbers
    whole: MemoryNumbers

    @property
    def share(self) -> float:
        """What is kept, of what nn.GRU keeps."""
        return self.own.saved_bytes / self.whole.saved_bytes

    @property
    def is_enough(self) -> bool:
        """Whether it is little enough."""
        return self.share <= MAX_RECOMPUTED


def savings(numbers: Sequence[MemoryNumbers]) -> list[Saving]:
    """Pair each step that recomputes with nn.GRU, on the longest sequence that both had."""
    whole = {own.case.n_steps: own for own in numbers if own.case.kind is Kind.WHOLE}
    found = []
    for kind in RECOMPUTING:
        alike = [o for o in numbers if o.case.kind is kind and o.case.n_steps in whole]
        longest = max(alike, key=lambda own: own.case.n_steps, default=None)
        if longest is not None:
            found.append(Saving(longest, whole[longest.case.n_steps]))
    return found


def read_numbers(entries: Mapping[str, Any]) -> MemoryNumbers:
    """Read numbers from what `dataclasses.asdict` made of them."""
    case = entries["case"]
    changed = {
        "case": Case(Kind(case["kind"]), case["n_steps"]),
        "resident_bytes": tuple(entries["resident_bytes"]),
        "peak_cells": tuple(entries["peak_cells"]),
    }
    return MemoryNumbers(**{**entries, **changed})
