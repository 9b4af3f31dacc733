"""The schema of the section cluster, and of files that describe one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from gru_parallel.rules import ABOVE_0, AT_LEAST_0, AT_LEAST_1, Count, at_most


@dataclass
class LocalCluster:
    """conf/cluster/local.yaml: the devices of this machine."""

    name: str


@dataclass
class ClusterFile(LocalCluster):
    """conf/cluster/file.yaml: a file with the settings of `DescribedCluster`."""

    path: str


@dataclass
class LinkConfig:
    """What connects two devices."""

    latency_us: Annotated[float, AT_LEAST_0]
    gigabytes_per_s: Annotated[float, ABOVE_0]


@dataclass
class DevicesConfig:
    """Equal devices of a machine; a speed that is not given is that of their kind."""

    kind: str
    count: Annotated[int, AT_LEAST_1, at_most(1000)] = 1
    memory_gib: Annotated[float, ABOVE_0] | None = None
    flops_per_s: Annotated[float, ABOVE_0] | None = None
    bytes_per_s: Annotated[float, ABOVE_0] | None = None
    cell_ms: Annotated[float, AT_LEAST_0] | None = None
    step_ms: Annotated[float, AT_LEAST_0] | None = None


@dataclass
class MachinesConfig:
    """Equal machines.

    Attributes:
        devices: of each machine, of `DevicesConfig`.
    """

    devices: list[Any]
    count: Annotated[int, AT_LEAST_1, at_most(10_000)] = 1
    n_cores: Count | None = None
    memory_gib: Annotated[float, ABOVE_0] | None = None


@dataclass
class DescribedCluster(LocalCluster):
    """The other files of conf/cluster: devices that need not be here.

    Attributes:
        machines: of `MachinesConfig`.
        inside: of `LinkConfig`, links two devices of one machine; None for CPU devices alone.
        between: of `LinkConfig`, links two machines; None for one machine.
    """

    machines: list[Any]
    inside: Any = None
    between: Any = None
