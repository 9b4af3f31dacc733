"""Runs whole training steps of a few plans, in turns, on the devices of this machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from statistics import median
from time import perf_counter

import torch

from gru_parallel.engine.torch_device import torch_device
from gru_parallel.model import StackModel, SumLoss, Windows
from gru_parallel.planning.planned import Planned
from gru_parallel.planning.profile import Trial
from gru_parallel.planning.trials import digest
from gru_parallel.profiling.pipelines import Precision, steps

SECONDS = 4.0
"""So long plans take turns, but each has one."""
N_STEPS = 2
"""Of a plan's turn, besides one to warm up."""


def run_trials(
    tried: Sequence[Planned],
    make_model: Callable[[str], StackModel],
    windows: Windows,
    loss: SumLoss,
    precision: Precision,
    graphs: bool | None = None,
) -> tuple[Trial, ...]:
    """Run plans, and say what a step took without its optimiser, the median of all turns.

    Args:
        tried: the plans.
        make_model: makes their model, with a core.
        windows: the batch of each step.
        loss: of the run.
        precision: of the run.
        graphs: as of the run's engine, where a plan is recorded and replayed.

    Returns:
        A trial for each plan.
    """
    if not tried:
        return ()
    start = perf_counter()
    models = {core: make_model(core) for core in dict.fromkeys(each.plan.core for each in tried)}
    taken: list[list[float]] = [[] for _ in tried]
    while not all(taken) or perf_counter() - start < SECONDS:
        for planned, of_plan in zip(tried, taken, strict=True):
            plan, wanted = planned.plan, graphs if planned.replays else False
            running = steps(
                models[plan.core], plan, windows, loss, precision, graphs=wanted, waits=False
            )
            try:
                with closing(running):
                    _next_ms(running, planned)
                    of_plan += [_next_ms(running, planned) for _ in range(N_STEPS)]
            except torch.OutOfMemoryError:
                of_plan.append(math.inf)
    medians = map(median, taken)
    return tuple(
        Trial(
            planned.plan,
            digest(planned.workload.model),
            step_ms if math.isfinite(step_ms) else None,
        )
        for planned, step_ms in zip(tried, medians, strict=True)
    )


def _next_ms(running: Iterator[object], planned: Planned) -> float:
    """Run the next step to its end on all devices, and return what it took."""
    start = perf_counter()
    next(running)
    for device in map(torch_device, planned.plan.all_devices):
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
    return 1e3 * (perf_counter() - start)
