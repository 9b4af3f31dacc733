"""What a case came to: times and memory, or why there are none; JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.gpu.cases import Case, Precision, Way
from benchmarks.shapes import Shape


@dataclass(frozen=True)
class Reading:
    """What was read off one case.

    Attributes:
        steps_ms: from the call until every GPU has finished, of each step.
        queue_ms: from the call until it returned, of each step: what the host takes to queue it.
        peak_bytes: the most memory of one GPU that tensors took, warm-up and capture included;
            None where it is not counted.
        held_bytes: memory of one GPU that is reserved between two steps, for graphs and weights.
        cells_ms: (F, B) of each chunk of a stage alone, with a wait after each.
        launches: by the name of the runtime's function, how often one step called it.
    """

    steps_ms: tuple[float, ...] = ()
    queue_ms: tuple[float, ...] = ()
    peak_bytes: int | None = None
    held_bytes: int | None = None
    cells_ms: tuple[tuple[float, float], ...] = ()
    launches: Mapping[str, int] | None = None

    @property
    def step_ms(self) -> float:
        """Median over the steps."""
        return median(self.steps_ms)

    @property
    def host_ms(self) -> float:
        """Median over the steps."""
        return median(self.queue_ms)


@dataclass(frozen=True)
class GPUNumbers:
    """A case and what it came to.

    Attributes:
        case: what was to be measured.
        reading: None where it was not.
        why_not: then, why.
        seconds: that it took, all in all.
    """

    case: Case
    reading: Reading | None
    why_not: str = ""
    seconds: float = 0.0


def read_numbers(entries: Mapping[str, Any]) -> GPUNumbers:
    """Read numbers from what `dataclasses.asdict` made of them."""
    case, reading = entries["case"], entries["reading"]
    return GPUNumbers(
        Case(
            **{
                **case,
                "way": Way(case["way"]),
                "shape": Shape(**case["shape"]),
                "precision": Precision(case["precision"]),
            }
        ),
        None if reading is None else _read_reading(reading),
        entries["why_not"],
        entries["seconds"],
    )


def _read_reading(entries: Mapping[str, Any]) -> Reading:
    changed = {
        "steps_ms": tuple(entries["steps_ms"]),
        "queue_ms": tuple(entries["queue_ms"]),
        "cells_ms": tuple((f_ms, b_ms) for f_ms, b_ms in entries["cells_ms"]),
    }
    return Reading(**{**entries, **changed})
