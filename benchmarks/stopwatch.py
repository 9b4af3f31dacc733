"""Times a training step, and clears up after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter, process_time

from torch import nn


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Run and return wall time and the process's CPU time, in ms."""
    wall, cpu = perf_counter(), process_time()
    run()
    return (perf_counter() - wall) * 1e3, (process_time() - cpu) * 1e3


def drop_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Drop them as an optimiser's zero_grad does."""
    for parameter in parameters:
        parameter.grad = None
