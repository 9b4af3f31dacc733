"""Which stages share processors, and how many compute at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from gru_parallel.placement.cluster import Cluster, Device
from gru_parallel.placement.plan import Plan
from gru_parallel.planning.crossings import replicas_of
from gru_parallel.schedule.simulate import Pool


def pools(plan: Plan, cluster: Cluster) -> tuple[Pool, ...]:
    """Return the stages of a replica that share processors: too few cores, or one accelerator.

    Replicas on one machine share its cores evenly.
    """
    by_processor: dict[object, list[int]] = {}
    n_slots: dict[object, int] = {}
    for index, stage in enumerate(plan.stages):
        device = cluster.device(stage.device)
        where: object = ("cores", device.machine) if device.is_cpu else device.name
        n_cores = cluster.machines[device.machine].n_cores
        by_processor.setdefault(where, []).append(index)
        free = 1
        if device.is_cpu:
            n_replicas = replicas_beside(plan, cluster, device)
            free = max(1, n_cores // n_replicas) if n_cores else plan.n_stages
        n_slots[where] = min(free, n_slots.get(where, free))
    return tuple(
        Pool(frozenset(stages), n_slots[where])
        for where, stages in by_processor.items()
        if len(stages) > n_slots[where]
    )


def crowding(plan: Plan, cluster: Cluster, device: Device) -> float:
    """Return how many replicas share a core of a device's machine, where there are too few."""
    n_cores = cluster.machines[device.machine].n_cores
    if plan.data_parallel == 1 or not device.is_cpu or n_cores is None:
        return 1.0
    return max(1.0, replicas_beside(plan, cluster, device) / n_cores)


def replicas_beside(plan: Plan, cluster: Cluster, device: Device) -> int:
    """Return how many replicas have what is on a device on its machine, too."""
    if plan.data_parallel == 1:
        return 1
    n_apart = len(set(plan.devices))
    alike = replicas_of(device, n_apart, plan.data_parallel, cluster)
    return sum(each.machine == device.machine for each in alike)


def busy_stages(
    cluster: Cluster,
    device: Device,
    stage_devices: Sequence[str],
    n_cells: int,
    width: int = 1,
) -> float:
    """Return how many stages compute at the same time on a device's machine, this one included.

    On CPUs they share caches and memory, on accelerators the host that queues their work.

    Args:
        cluster: with the device.
        device: whose machine it is.
        stage_devices: the device of each stage of a replica.
        n_cells: of a batch; the fewer, the less stages overlap.
        width: the number of replicas, which are assumed to be spread evenly over the machines.

    Returns:
        Their number in the mean, while the stages of the machine compute.
    """
    here = [
        index
        for index, other in enumerate(map(cluster.device, stage_devices))
        if other.is_cpu == device.is_cpu and other.machine == device.machine
    ]
    n_cores = cluster.machines[device.machine].n_cores if device.is_cpu else None
    # A device that is only being thought of is none of the plan's yet.
    n_beside = _overlap(tuple(here), n_cells) if here else 1.0
    n_busy = n_beside * max(1, width // len(cluster.machines))
    return n_busy if n_cores is None else min(n_busy, float(n_cores))


@lru_cache  # A search asks for the same again and again, of many stages.
def _overlap(stages: tuple[int, ...], n_cells: int) -> float:
    """Count, for a stage in the mean, itself and the share of its cells beside each other one's.

    A stage begins a cell after the one before: two overlap in all cells but as many as are between.
    """
    pairs = (max(0.0, 1 - abs(one - other) / n_cells) for one in stages for other in stages)
    return sum(pairs) / len(stages)
