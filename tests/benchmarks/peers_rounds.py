"""Made-up rounds of `peers`, so that every number of its tables can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.peers.build import Build
from benchmarks.peers.variants import EngineVariant, ModelParallel, Runner, TorchPipelining
from benchmarks.samples import Round, ShapeRun, Step, Turn
from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary, summarise
from benchmarks.variant import Variant
from benchmarks.variants import WholeGRU

SHAPE = Shape(hidden_size=128, batch_size=32, n_steps=96, num_layers=4)
MIB = 2**20

PEER_M1, PEER_M2, PEER_M4 = (TorchPipelining("gpipe", m) for m in (1, 2, 4))
THREADS = EngineVariant(Runner.THREADS, "gpipe", 1, 16)
FUSED = EngineVariant(Runner.THREADS, "gpipe", 1, 8, "fused")
EARLIER = EngineVariant(Runner.THREADS, "gpipe", 1, 16, build=Build("abc1234", "anywhere"))
PROCESSES = EngineVariant(Runner.PROCESSES, "gpipe", 1, 16)
PROCESSES_M1, PROCESSES_M2, PROCESSES_M4 = (
    EngineVariant(Runner.PROCESSES, "gpipe", m) for m in (1, 2, 4)
)

TIMES_MS: Mapping[Variant, float] = {
    WholeGRU(1): 120.0,
    WholeGRU(2): 96.0,
    ModelParallel(): 125.0,
    PEER_M1: 130.0,
    PEER_M2: 120.0,
    THREADS: 60.0,
    FUSED: 50.0,
    PROCESSES: 52.0,
    PROCESSES_M2: 125.0,
}
"""Every target is met but that of the same plan without chunks."""


def a_round(times_ms: Mapping[Variant, float]) -> Round:
    turns = {
        variant: Turn((Step(ms, 2 * ms),), 4 * ms, (3 * MIB,) * variant.n_ranks)
        for variant, ms in times_ms.items()
    }
    return Round(turns, 0.0, 0.0)


def summary(
    changed_ms: Mapping[Variant, float] | None = None, shape: Shape = SHAPE
) -> ShapeSummary:
    """A shape's summary of one round, before which one more plan was tried."""
    times_ms: dict[Variant, float] = {**TIMES_MS, **(changed_ms or {})}
    tried = a_round(
        {**times_ms, PEER_M4: 200.0, EngineVariant(Runner.THREADS, "gpipe", 2, 4): 90.0}
    )
    return summarise(ShapeRun(shape, tuple(times_ms), (a_round(times_ms),), 1, tried))
