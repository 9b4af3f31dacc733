"""Where a plan needs more memory than there is, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from math import ceil
from operator import add

from gru_parallel.choices import core_on
from gru_parallel.placement.cluster import Cluster, Device
from gru_parallel.placement.model_spec import ModelSpec
from gru_parallel.placement.plan import Plan
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.planning.memory import N_WITHOUT_STATES, StageMemory

# Of a card's memory, what CUDA's own context and the workspaces of cuDNN and cuBLAS take: assumed.
RESERVED_BYTES = 2**30


@dataclass(frozen=True)
class Shortage:
    """A device, or the CPU devices of a machine, whose stages need more memory than it has.

    Attributes:
        stages: indices of the stages.
        place: what they run on, as in "cuda:0", or "cpu:0 to cpu:3 of one machine".
        needed: by all of these stages, of all replicas that are there.
        available_bytes: for them.
        remedies: what would help, as one writes it; what costs least comes first.
    """

    stages: tuple[int, ...]
    place: str
    needed: StageMemory
    available_bytes: int
    remedies: tuple[str, ...]

    @property
    def lacking_bytes(self) -> int:
        """How much is missing."""
        return self.needed.total_bytes - self.available_bytes

    def __str__(self) -> str:
        """Say which stages lack how much where, and what would help."""
        numbers = ", ".join(map(str, self.stages))
        who = f"stage {numbers} needs" if len(self.stages) == 1 else f"stages {numbers} need"
        return (
            f"{who} {_gib(self.needed.total_bytes)} on {self.place}, where"
            f" {_gib(self.available_bytes)} can be used: {_gib(self.lacking_bytes)} are missing;"
            f" use {', or '.join(self.remedies)}."
        )


def shortages(
    memory: Sequence[StageMemory],
    plan: Plan,
    cluster: Cluster,
    workload: Workload,
    n_replicas: int = 1,
    second: Mapping[int, StageMemory] | None = None,
) -> tuple[Shortage, ...]:
    """Return where a plan needs more memory than there is, as far as that is known.

    Stages of one device are added up, and those of all CPU devices of one machine.

    Args:
        memory: what each stage of a replica needs.
        plan: which block runs where.
        cluster: has the devices of the plan.
        workload: that is planned for.
        n_replicas: of the plan. They share the memory of CPU devices, spread evenly over the
            machines, some of which hold one more; of accelerators, each has its own.
        second: by stage, what of it is on the device of its reverse direction; None where no stage
            has one.
    """
    found = []
    for place in _places(plan, cluster, memory, second or {}):
        needed = place.needed
        if place.is_shared:
            needed = needed.times(ceil(n_replicas / len(cluster.machines)))
        if needed.total_bytes > place.available_bytes:
            remedies = tuple(_remedies(needed, place, plan, workload))
            found.append(
                Shortage(place.stages, place.name, needed, place.available_bytes, remedies)
            )
    return tuple(found)


def memory_of(cluster: Cluster, devices: Sequence[Device]) -> int | None:
    """Return what all stages on these devices may use together; None if nobody knows."""
    machines = {device.machine for device in devices if device.shares_memory}
    shared = [cluster.machines[machine].memory_bytes for machine in machines]
    own = [_own_bytes(device) for device in devices if not device.shares_memory]
    known = [n_bytes for n_bytes in (*shared, *own) if n_bytes is not None]
    return sum(known) if len(known) == len(shared) + len(own) else None


def _own_bytes(device: Device) -> int | None:
    there = device.memory_bytes
    return there if there is None or device.is_cpu else max(0, there - RESERVED_BYTES)


@dataclass(frozen=True)
class _Place:
    """A memory, and the stages that share it.

    Attributes:
        needed: by them, of one replica.
        is_shared: whether it is a machine's, which its CPU devices share.
    """

    name: str
    stages: tuple[int, ...]
    needed: StageMemory
    available_bytes: int
    is_shared: bool


def _places(
    plan: Plan, cluster: Cluster, memory: Sequence[StageMemory], second: Mapping[int, StageMemory]
) -> Iterator[_Place]:
    """Yield the memories that are known."""
    parts: list[tuple[Device, int, StageMemory]] = []
    for index, (stage, whole) in enumerate(zip(plan.stages, memory, strict=True)):
        has_second = stage.reverse_device is not None and index in second
        own = whole - second[index] if has_second else whole
        parts.append((cluster.device(stage.device), index, own))
        if stage.reverse_device is not None and has_second:
            parts.append((cluster.device(stage.reverse_device), index, second[index]))

    def owner(part: tuple[Device, int, StageMemory]) -> tuple[bool, int, str]:
        device = part[0]
        is_shared = device.shares_memory
        return is_shared, device.machine, "" if is_shared else device.name

    in_order = sorted(parts, key=lambda part: (owner(part), part[1]))
    for (is_shared, machine, _), group in groupby(in_order, owner):
        devices, stages, needed = zip(*group, strict=True)
        first, last = devices[0], devices[-1]
        if is_shared:
            there = cluster.machines[machine].memory_bytes
            several = f"{first.name} to {last.name} of one machine"
            name = first.name if first == last else several
        else:
            there, name = _own_bytes(first), first.name
        if there is not None:
            of_stages = tuple(dict.fromkeys(stages))
            yield _Place(name, of_stages, reduce(add, needed), there, is_shared)


def _remedies(needed: StageMemory, place: _Place, plan: Plan, workload: Workload) -> Iterator[str]:
    more = "more machines" if place.is_shared else "more devices"
    # Either several replicas share the place, or what one has there can be divided.
    is_divisible = needed != place.needed or _is_divisible(place, plan, workload.model)
    stages, grid = [plan.stages[stage] for stage in place.stages], plan.grid
    if all(stage.n_blocks == 1 for stage in stages) and grid.layers_per_block > 1:
        more += " with a smaller model.layers_per_block"
    if needed.fixed_bytes > place.available_bytes:
        # However the batch is cut.
        if is_divisible:
            yield more
        if workload.n_weight_copies > N_WITHOUT_STATES:
            yield "an optimiser with fewer states, such as optimizer=sgd optimizer.momentum=0"
        if workload.bytes_per_number > 2:
            yield "trainer.precision=bf16-true"
        yield "a smaller model.hidden_size"
        return
    model = workload.model
    if not grid.recomputes:
        yield "schedule.recompute=cell"
    if grid.truncate is None and not _has_barrier(model):
        yield "schedule.truncate=1 with many chunks"
    if any(core_on(stage.device, model.core) != "lean" for stage in stages):
        yield "model.core=lean"
    if needed.graph_bytes:
        yield "engine.graphs=false"
    if workload.n_rows > 1:
        yield "a smaller data.batch_size with trainer.accumulate_grad_batches"
    yield more if is_divisible else "a smaller model.hidden_size"


def _is_divisible(place: _Place, plan: Plan, model: ModelSpec) -> bool:
    """Whether other devices could take over a part of what one replica has in a place."""
    if len(place.stages) > 1:
        return True
    (index,) = place.stages
    stage = plan.stages[index]
    if len(plan.stage_layers(index)) > 1:
        return True
    # The reverse direction of a layer can be on a second device, of the same machine.
    has_two = any(model.blocks[block].bidirectional for block in stage.blocks)
    return has_two and stage.reverse_device is None and not place.is_shared


def _has_barrier(model: ModelSpec) -> bool:
    return any(block.bidirectional or block.h_0 == "previous" for block in model.blocks)


def _gib(n_bytes: int) -> str:
    gib = n_bytes / 2**30
    return f"{gib:,.0f} GiB" if gib >= 100 else f"{gib:.3g} GiB"
