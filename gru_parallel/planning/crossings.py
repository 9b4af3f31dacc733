"""What crosses the links of a plan: results of cells between stages, gradients between replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from gru_parallel.placement.cluster import Cluster, Device, Link
from gru_parallel.placement.plan import Plan
from gru_parallel.planning.cell_costs import Workload

Links = Callable[[Device, Device], Link]
"""What connects two devices."""


class Crossing(NamedTuple):
    """What the result of a cell takes from a stage to the next one, or back.

    Attributes:
        ms: from the end of an action to when its result is there.
        link_ms: of this, how long the link is occupied: the next result has to wait for so long.
    """

    ms: float
    link_ms: float

    @classmethod
    def over(cls, link: Link, n_bytes: float) -> Crossing:
        """Return what so many bytes take over a link, whose latency does not occupy it."""
        return cls(link.ms(n_bytes), link.transfer_ms(n_bytes))


def crossings(
    plan: Plan, workload: Workload, devices: Iterable[Device], link: Links
) -> tuple[Crossing, ...]:
    """Return what the result of a cell takes over each boundary between stages.

    Args:
        plan: which blocks stages have, and how a batch is cut.
        workload: what is trained.
        devices: of each stage.
        link: see `Links`.
    """
    n_cells = plan.grid.n_micro_batches * plan.grid.n_chunks * plan.data_parallel
    widths = [workload.model.blocks[stage.first_block].input_size for stage in plan.stages[1:]]
    return tuple(
        Crossing.over(link(before, after), cell_bytes(workload, width, n_cells))
        for (before, after), width in zip(pairwise(devices), widths, strict=True)
    )


def cell_bytes(workload: Workload, width: int, n_cells: int) -> float:
    """Return how many bytes a cell of so many features has in the mean.

    Args:
        workload: what is trained.
        width: features that cross.
        n_cells: of a batch, those of all replicas.
    """
    n_steps = workload.n_steps + workload.model.n_decoding
    return workload.n_rows * n_steps * width / n_cells * workload.bytes_per_activation


class Route(NamedTuple):
    """The links from the first stage to the last.

    Attributes:
        latency_ms: of all of them.
        ms_per_byte: of all of them, one after another.
        most_ms_per_byte: of the slowest one.
    """

    latency_ms: float = 0.0
    ms_per_byte: float = 0.0
    most_ms_per_byte: float = 0.0

    def longer(self, link: Link) -> Route:
        """Return the route with one link more."""
        ms = link.transfer_ms(1)
        return Route(
            self.latency_ms + link.latency_ms,
            self.ms_per_byte + ms,
            max(self.most_ms_per_byte, ms),
        )

    def crossing(self, n_bytes: float) -> Crossing:
        """Return what a cell takes on all of it, and how long it occupies the slowest link."""
        return Crossing(
            self.latency_ms + n_bytes * self.ms_per_byte, n_bytes * self.most_ms_per_byte
        )


def routes(devices: Iterable[Device], link: Links) -> list[Route]:
    """Return the route along the first device alone, the first two, and so on."""
    links = (link(before, after) for before, after in pairwise(devices))
    return list(accumulate(links, Route.longer, initial=Route()))


def replicas_of(device: Device, n_apart: int, width: int, cluster: Cluster) -> list[Device]:
    """Return the device of a stage in each replica, its own first.

    Where the cluster has the devices of one replica alone, as with a device map, the others are
    assumed to be like them, spread evenly over the machines.

    Args:
        device: of the stage.
        n_apart: how many devices a replica has; those of the next one follow in the cluster.
        width: the number of replicas.
        cluster: has the device.
    """
    first, n_machines = cluster.devices.index(device), len(cluster.machines)
    found = list(cluster.devices[first::n_apart][:width])
    for replica in range(len(found), width):
        machine = (device.machine + replica * n_machines // width) % n_machines
        found.append(replace(device, name=f"{device.name} of {replica}", machine=machine))
    return found


def exchange_ms(ring: Sequence[Device], link: Links, n_bytes: float) -> float:
    """Return how long replicas take to add up gradients of so many bytes.

    Each part of them crosses once to be added up and once more to be shared, over the links of the
    ring at the same time; so the slowest of them counts.
    """
    n_bytes_of_part = n_bytes / len(ring)
    links = (link(one, other) for one, other in pairwise([*ring, ring[0]]))
    return 2 * (len(ring) - 1) * max(each.ms(n_bytes_of_part) for each in links)
