"""From the settings to the cluster: the devices of this machine, or those that conf/ describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gru_parallel.assembly.memory import memory_bytes
from gru_parallel.config.cluster_section import DescribedCluster, DevicesConfig, LinkConfig
from gru_parallel.config.schema import Config, ProcessesConfig
from gru_parallel.engine.devices import (
    accelerator_names,
    default_devices,
    devices_of_ranks,
    existing_devices,
    existing_devices_of_ranks,
    n_cores,
)
from gru_parallel.errors import UsageError, counted
from gru_parallel.placement import Cluster, Device
from gru_parallel.placement.cards import SPEEDS, kind_of
from gru_parallel.placement.cluster import (
    ACCELERATOR_SPEED,
    CPU_SPEED,
    IN_ONE_MEMORY,
    OVER_PCIE,
    Link,
    Machine,
    Speed,
)

# Assumed, for ranks that exchange tensors over Gloo, on the loopback interface.
BETWEEN_RANKS_ON_CPUS = Link(latency_ms=0.2, bytes_per_s=2e9)


def cluster_of(config: Config, n_ranks: int | None = None, check_exists: bool = False) -> Cluster:
    """Make the cluster that a run may use, all of its replicas together.

    Args:
        config: the run's settings.
        n_ranks: of all replicas, each with a device; None for the devices of one process.
        check_exists: whether devices that are described must be here.

    Raises:
        UsageError: described devices are more or fewer than ranks, or they are not here.
    """
    if not isinstance(config.cluster, DescribedCluster):
        names = default_devices() if n_ranks is None else devices_of_ranks(n_ranks)
        return local_cluster(names, of_ranks=n_ranks is not None)
    of_ranks = isinstance(config.engine, ProcessesConfig)
    cluster = described_cluster(config.cluster, of_ranks=of_ranks)
    n_devices = len(cluster.devices)
    if n_ranks is not None and n_ranks != n_devices:
        raise UsageError(
            f"cluster={cluster.name} has {counted(n_devices, 'device')}, and"
            f" {counted(n_ranks, 'rank')} were started; start one rank per device (torchrun"
            " --nproc-per-node, --nnodes), or use cluster=local."
        )
    if check_exists:
        _check_here(cluster, n_ranks)
    return cluster


def local_cluster(names: Sequence[str], of_ranks: bool = False) -> Cluster:
    """Describe devices of this machine; those that it does not have, as their kind usually is.

    Args:
        names: of the devices.
        of_ranks: whether each is a rank's. They are numbered over all machines, which are assumed
            to be one with cards like those here.
    """
    n_cards = len(accelerator_names())
    devices = tuple(_local_device(name, n_cards, of_ranks) for name in names)
    if any(not device.is_cpu for device in devices):
        inside = OVER_PCIE
    else:
        inside = BETWEEN_RANKS_ON_CPUS if of_ranks else IN_ONE_MEMORY
    return Cluster(devices, (Machine(n_cores(), memory_bytes()),), inside)


def described_cluster(config: DescribedCluster, of_ranks: bool = False) -> Cluster:
    """Make the cluster that settings describe; its devices are numbered over all machines.

    Args:
        config: the description; CPU devices of a machine whose link it leaves out are linked as
            threads are, or ranks.
        of_ranks: whether each device is a rank's.
    """
    without = BETWEEN_RANKS_ON_CPUS if of_ranks else IN_ONE_MEMORY
    devices: list[Device] = []
    machines: list[Machine] = []
    n_of_type = {"cpu": 0, "cuda": 0}
    for entry in config.machines:
        for _ in range(entry.count):
            for kind in entry.devices:
                for _ in range(kind.count):
                    on = "cpu" if kind.kind == "cpu" else "cuda"
                    name = f"{on}:{n_of_type[on]}"
                    n_of_type[on] += 1
                    devices.append(_described_device(name, len(machines), kind))
            machines.append(Machine(entry.n_cores, _bytes(entry.memory_gib)))
    return Cluster(
        tuple(devices),
        tuple(machines),
        _link(config.inside, without),
        _link(config.between, without),
        config.name,
    )


def card(kind: str, index: int) -> tuple[str, int] | None:
    """Return the name and the bytes of memory of an accelerator that is here.

    None if torch does not know them.
    """
    # Not at the top: it takes more than a second, and many machines have no accelerator.
    import torch

    ask = getattr(torch.get_device_module(kind), "get_device_properties", None)
    if ask is None:
        return None
    properties = ask(index)
    return str(properties.name), int(properties.total_memory)


def _local_device(name: str, n_cards: int, of_rank: bool) -> Device:
    kind, _, index = name.partition(":")
    if kind == "cpu":
        return Device(name, kind, speed=CPU_SPEED)
    number = int(index or 0)
    if of_rank and n_cards:
        # Each machine numbers its own.
        number %= n_cards
    found = card(kind, number) if number < n_cards else None
    if found is None:
        return Device(name, kind, speed=ACCELERATOR_SPEED)
    kind = kind_of(found[0])
    return Device(name, kind, 0, found[1], SPEEDS.get(kind, ACCELERATOR_SPEED))


def _described_device(name: str, machine: int, devices: DevicesConfig) -> Device:
    given = {
        key: getattr(devices, key)
        for key in ("flops_per_s", "bytes_per_s", "cell_ms", "step_ms")
        if getattr(devices, key) is not None
    }
    # Of a kind that is not known, all are given.
    known = SPEEDS.get(devices.kind)
    speed = Speed(**given) if known is None else replace(known, **given)
    return Device(name, devices.kind, machine, _bytes(devices.memory_gib), speed)


def _link(link: LinkConfig | None, without: Link) -> Link:
    if link is None:
        return without
    return Link(link.latency_us / 1e3, link.gigabytes_per_s * 1e9)


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else round(gib * 2**30)


def _check_here(cluster: Cluster, n_ranks: int | None) -> None:
    here = existing_devices() if n_ranks is None else existing_devices_of_ranks(n_ranks)
    missing = [name for name in cluster.device_names if name not in here]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UsageError(
            f"cluster={cluster.name} has {missing[0]}{more}, and this machine has"
            f" {', '.join(here)}; plan for it with gru_parallel.plan, and train where the devices"
            " are, or with cluster=local."
        )
