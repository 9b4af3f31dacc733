"""Times what an engine adds to its cells: hand-overs, each action's share, the ends of a step."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from queue import SimpleQueue
from statistics import median
from threading import Thread
from time import perf_counter
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from gru_parallel.engine.graphs import N_EAGER
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead, Windows
from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.placement.cluster import Device, Link
from gru_parallel.schedule import Op, Timeline

OptimizerMaker = Callable[[list[nn.Parameter]], Optimizer]

_N_CHUNKS = 8
_N_STEPS = 20
_N_WARM_UP = N_EAGER + 2
"""Steps before one that is recorded, that one, and the first that is replayed."""

_N_ROUND_TRIPS = 200
_N_OPTIMIZER_STEPS = 17
_N_BYTES = 1 << 24
_N_BYTES_OF_RANKS = 1 << 22


@dataclass(frozen=True)
class EngineCosts:
    """What an engine adds.

    Attributes:
        action_ms: for each F, B or W: sends, receives, and what lies between actions.
        start_ms: before the first cell of a step and after its last, and what that first cell takes
            longer than others, since it finds its worker asleep.
    """

    action_ms: float
    start_ms: float


def engine_costs(devices: tuple[Device, Device], *, replays: bool) -> EngineCosts:
    """Time steps of a tiny model on two stages, whose cells take next to nothing.

    Args:
        devices: of the stages; may be the same.
        replays: whether steps are recorded and replayed on accelerators.
    """
    steps = _times_of_steps(devices, _N_CHUNKS, replays=replays)
    timelines = [timeline for _, timeline in steps if timeline is not None]
    if timelines:
        starts = [ms - line.step_ms + of_first_ms(line) for ms, line in steps if line is not None]
        return EngineCosts(median(map(_between_actions_ms, timelines)), median(starts))
    # Replays are queued without a look at the clock in between: so twice as many are, too.
    longer = _times_of_steps(devices, 2 * _N_CHUNKS, replays=replays)
    step_ms, longer_ms = (median(ms for ms, _ in some) for some in (steps, longer))
    # F and B on two stages, of as many cells as there are more.
    n_more = 2 * 2 * _N_CHUNKS
    action_ms = max(0.0, longer_ms - step_ms) / n_more
    return EngineCosts(action_ms, max(0.0, step_ms - n_more * action_ms))


def _times_of_steps(
    devices: tuple[Device, Device], n_chunks: int, *, replays: bool
) -> list[tuple[float, Timeline | None]]:
    """Return what steps of the tiny model took in ms, each with its timeline, once it is warm."""
    # Four layers of the smallest size: what is left is what the engine does.
    model = StackModel(nn.Identity(), GRUStack(2, 2, 4), WindowHead(2, (1,)))
    stages = (StagePlan(devices[0].name, 0, 2), StagePlan(devices[1].name, 2, 2))
    x, y = torch.randn(2, n_chunks, 2), torch.randn(2, 1)
    plan = Plan(4, Grid(n_chunks=n_chunks), stages)
    with ThreadEngine(model, plan, LOSSES["mse"], graphs=None if replays else False) as engine:
        found = []
        for number in range(_N_STEPS):
            start = perf_counter()
            engine.train_step(Windows(x, y), number).backward()
            found.append((1e3 * (perf_counter() - start), engine.timeline))
            for stage in engine.stages:
                # What a device has not done yet would keep the host from queueing more.
                stage.lane.synchronize()
        return found[_N_WARM_UP:]


def of_first_ms(timeline: Timeline) -> float:
    """What the first F takes longer than the next ones."""
    first, *others = (
        event.duration_ms for event in timeline.stage_events(0) if event.action.op is Op.F
    )
    return max(0.0, first - median(others))


def _between_actions_ms(timeline: Timeline) -> float:
    """What an action costs besides, where no stage waits: a send, and the time between events."""
    sends = [event.duration_ms for event in timeline.events if event.action.op.is_send]
    gaps = [
        later.start_ms - earlier.end_ms
        for stage in range(timeline.n_stages)
        for earlier, later in pairwise(timeline.stage_events(stage))
    ]
    # A cell's F, or B, comes with a receive and a send.
    return median(sends) + 3 * median(gaps)


def hand_over(one: Device, other: Device) -> Link:
    """Time what it takes until a result of one device's worker is there for another's."""
    latency_ms = 1e3 * _queue_latency_s()
    if one.is_cpu and other.is_cpu:
        # The tensor stays where it is.
        return Link(latency_ms, float("inf"))
    source = torch.empty(_N_BYTES, dtype=torch.uint8, device=_torch_name(one))
    copies = [_copy_s(source, _torch_name(other)) for _ in range(5)]
    return Link(latency_ms, _N_BYTES / median(copies[1:]))


def hand_over_of_ranks() -> Link:
    """Time a hand-over between two ranks on the CPUs of one machine: Gloo, over loopback.

    Both ends are threads of this process, each with a process group of its own.
    """
    store = dist.HashStore()  # type: ignore[attr-defined]  # not in torch's annotations

    # torch's annotations do not know what a group of its own can do.
    def group(rank: int) -> Any:
        return dist.ProcessGroupGloo(store, rank, 2, timedelta(seconds=60))

    with ThreadPoolExecutor(2) as pool:
        here, there = pool.map(group, (0, 1))
        latency_s = _between_ranks_s(pool, here, there, 1, _N_ROUND_TRIPS)
        whole_s = _between_ranks_s(pool, here, there, _N_BYTES_OF_RANKS, 10)
    return Link(1e3 * latency_s, _N_BYTES_OF_RANKS / max(whole_s - latency_s, 1e-9))


def _between_ranks_s(
    pool: ThreadPoolExecutor,
    here: Any,
    there: Any,
    n_bytes: int,
    n_trips: int,
) -> float:
    """Half the time of a round trip."""
    sent, answered = (torch.zeros(n_bytes, dtype=torch.uint8) for _ in range(2))

    def answer() -> None:
        for _ in range(n_trips):
            there.recv([answered], 0, 0).wait()
            there.send([answered], 0, 1).wait()

    answering = pool.submit(answer)
    taken = []
    for _ in range(n_trips):
        start = perf_counter()
        here.send([sent], 1, 0).wait()
        here.recv([sent], 1, 1).wait()
        taken.append(perf_counter() - start)
    answering.result()
    return median(taken) / 2


def _torch_name(device: Device) -> str:
    return "cpu" if device.is_cpu else device.name


def _copy_s(source: torch.Tensor, target: str) -> float:
    start = perf_counter()
    source.to(target)
    _wait_for(source.device)
    _wait_for(torch.device(target))
    return perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _queue_latency_s() -> float:
    """Half the time of a round trip between two threads, each of which waits for the other."""
    there: SimpleQueue[int | None] = SimpleQueue()
    back: SimpleQueue[int | None] = SimpleQueue()

    def answer() -> None:
        while (item := there.get()) is not None:
            back.put(item)

    thread = Thread(target=answer, daemon=True)
    thread.start()
    taken = []
    for number in range(_N_ROUND_TRIPS):
        start = perf_counter()
        there.put(number)
        back.get()
        taken.append(perf_counter() - start)
    there.put(None)
    thread.join()
    return median(taken) / 2


def optimizer_ns(make: OptimizerMaker, width: int, device: Device, dtype: torch.dtype) -> float:
    """Time an optimiser's step on the weights of one layer, in ns for each parameter.

    Args:
        make: makes the optimiser from parameters.
        width: hidden and input size of the layer.
        device: that the weights are on.
        dtype: their type.
    """
    layer = nn.GRU(width, width, device=_torch_name(device), dtype=dtype)
    weights = list(layer.parameters())
    optimizer = make(weights)
    taken = []
    for _ in range(_N_OPTIMIZER_STEPS):
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        _wait_for(weights[0].device)
        start = perf_counter()
        optimizer.step()
        _wait_for(weights[0].device)
        taken.append(perf_counter() - start)
    return 1e9 * median(taken[1:]) / sum(weight.numel() for weight in weights)
