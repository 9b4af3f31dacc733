"""The systems that `peers` measures, and the plans that each of them is tried with. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product

from benchmarks.peers.build import Build
from benchmarks.peers.cores import CORES, NATIVE, USUAL_CORE, WITH_W
from benchmarks.peers.variants import (
    EngineVariant,
    ModelParallel,
    Runner,
    TorchGPipe,
    TorchPipelining,
)
from benchmarks.variant import Variant
from benchmarks.variants import WholeGRU

MICRO_BATCHES, CHUNKS = (1, 2, 4), (4, 8, 16)

UNCHUNKED = (
    *(("gpipe", m) for m in (1, 2, 4, 8)),
    *(("one_f_one_b", m) for m in (2, 4, 8)),
)
"""The plans that `torch.distributed.pipelining` has, too."""


def systems() -> tuple[Variant, ...]:
    """Return every plan of every system."""
    return (
        WholeGRU(1),
        WholeGRU(2),
        ModelParallel(),
        *(TorchGPipe(m) for m in MICRO_BATCHES if find_spec("torchgpipe")),
        *(TorchPipelining(*plan) for plan in UNCHUNKED),
        *_engine(Runner.THREADS),
        *_engine(Runner.PROCESSES),
    )


def threads_of(build: Build) -> Iterator[EngineVariant]:
    """Return the plans of another build's threads."""
    for m, c in product(MICRO_BATCHES[:2], CHUNKS):
        yield EngineVariant(Runner.THREADS, "gpipe", m, c, build=build)


def _engine(runner: Runner) -> Iterator[EngineVariant]:
    for core, c in product(CORES, CHUNKS):
        yield EngineVariant(runner, "gpipe", 1, c, core)
    for core, schedule, c in product(CORES, WITH_W, CHUNKS):
        if core != NATIVE:
            yield EngineVariant(runner, schedule, 1, c, core)
    if runner is Runner.THREADS:
        # More micro-batches make products thinner, whatever computes and whoever sends them.
        for m, c in product(MICRO_BATCHES[1:], CHUNKS):
            yield EngineVariant(runner, "gpipe", m, c, USUAL_CORE)
    for schedule, m in UNCHUNKED:
        yield EngineVariant(runner, schedule, m, core=USUAL_CORE)
