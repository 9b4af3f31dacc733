"""Reads a gauge in a fresh process, so that no step sees what another one left behind."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

from benchmarks.memory.cases import STEPS_A_CHUNK, Case

WARM_UP_CHUNKS = 2


@dataclass(frozen=True)
class Reading:
    """What a gauge showed.

    Attributes:
        peak_bytes: what the step added at most.
        peak_cells: for each stage, the most cells whose activations were alive at once.
    """

    peak_bytes: int
    peak_cells: tuple[int, ...]


def read_alone(case: Case, gauge: str) -> Reading:
    """Have a fresh process, not a fork, take the step under a gauge, one of `GAUGES`."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(read, case, gauge).result()


def read(case: Case, gauge: str) -> Reading:
    """Take the step of a case under a gauge, with the batch in memory already."""
    # Here and not above: the process that shows the tables has no use for torch.
    import torch

    from benchmarks.memory.gauges import GAUGES
    from benchmarks.memory.subject import make_subject

    torch.set_num_threads(1)
    # Loads code, and has the allocator ask for its first memory.
    make_subject(replace(case, n_steps=WARM_UP_CHUNKS * STEPS_A_CHUNK)).step()
    subject = make_subject(case)
    peak_bytes = GAUGES[gauge](subject)
    return Reading(peak_bytes, subject.peak_cells)
