"""Made-up readings of cases on a GPU, so that every number of a table can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.gpu.cases import Case, Precision, Way
from benchmarks.gpu.numbers import GPUNumbers, Reading
from benchmarks.shapes import Shape

TARGET = Shape(hidden_size=256, batch_size=64, n_steps=512, num_layers=8)
TF32, BFLOAT16 = Precision.TF32, Precision.BFLOAT16

EAGER = Case(Way.NN_GRU, TARGET, TF32)
GRAPH = Case(Way.NN_GRAPH, TARGET, TF32)
UNCUT = Case(Way.GRAPHS, TARGET, TF32)
IN_8 = Case(Way.GRAPHS, TARGET, TF32, n_chunks=8)
IN_16 = Case(Way.GRAPHS, TARGET, TF32, n_chunks=16)
STAGE = Case(Way.STAGE, TARGET, TF32, n_stages=4, n_chunks=16)


def read(case: Case, step_ms: float, host_ms: float = 0.1) -> GPUNumbers:
    reading = Reading((step_ms,), (host_ms,), peak_bytes=3 * 2**20, held_bytes=2**20)
    return GPUNumbers(case, reading, seconds=1.0)


def stage_alone(case: Case, cells_ms: Sequence[tuple[float, float]], step_ms: float) -> GPUNumbers:
    reading = Reading((step_ms,), (0.1,), cells_ms=tuple(cells_ms))
    return GPUNumbers(case, reading, seconds=1.0)


def all_met() -> list[GPUNumbers]:
    """Readings of one shape and type that meet every target, some of them exactly."""
    return [
        read(EAGER, 90.0),
        read(GRAPH, 30.0),
        read(UNCUT, 30.0),
        read(IN_8, 34.5),
        read(IN_16, 36.0, host_ms=0.2),
        # 19 cells after one another, of 0.7 ms, and 6 copies.
        stage_alone(STAGE, [(0.25, 0.5)] * 16, 16 * 0.7),
    ]
