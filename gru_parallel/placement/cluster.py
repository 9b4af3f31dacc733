"""Device, Link, Cluster: what a plan can run on, and how fast it is where nobody has measured it.

Names and numbers only: how long a layer takes on a device is the cost model's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

from gru_parallel.errors import UsageError


@dataclass(frozen=True)
class Speed:
    """What a kind of device reaches with the layers of a GRU, for costs that nobody has measured.

    Attributes:
        flops_per_s: floating-point operations per second of large matrix products in float32, on
            accelerators as torch computes it by default, with TF32.
        bytes_per_s: bytes per second between the device and its memory.
        cell_ms: what F of one layer takes on a cell however small it is; B and W take as much.
        step_ms: what one time step of one layer takes in F however few rows there are, because it
            waits for the step before; B takes as much.
    """

    flops_per_s: float
    bytes_per_s: float
    cell_ms: float
    step_ms: float

    def __post_init__(self) -> None:
        rates, times = (self.flops_per_s, self.bytes_per_s), (self.cell_ms, self.step_ms)
        if not (all(rate > 0 for rate in rates) and all(0 <= time < inf for time in times)):
            raise UsageError(
                f"{self} is not a speed: rates must be above 0 and times at least 0; give what the"
                " device reaches."
            )


# Fitted to the cores of this library on one core of a server CPU (benchmarks/README.md, cells).
CPU_SPEED = Speed(flops_per_s=8e10, bytes_per_s=1e10, cell_ms=0.08, step_ms=0.0135)
# An order of magnitude, for accelerators of which nothing but the name is known.
ACCELERATOR_SPEED = Speed(flops_per_s=5e13, bytes_per_s=1.5e12, cell_ms=0.02, step_ms=0.006)


def _check_memory(of: str, memory_bytes: int | None) -> None:
    if memory_bytes is not None and memory_bytes <= 0:
        raise UsageError(
            f"{of} has memory_bytes={memory_bytes}, which is not positive; give the bytes that a"
            " run may use, or None if they are not known."
        )


@dataclass(frozen=True)
class Device:
    """One device, as the planner sees it.

    Attributes:
        name: like "cuda:0" or "cpu:1".
        kind: devices of one kind are equally fast: "cpu", or what a card is called, like "h100".
        machine: number of the machine that it is in.
        memory_bytes: its own memory; None where it shares that of its machine, or nobody knows.
        speed: for costs that nobody has measured.

    Raises:
        UsageError: the memory is not positive.
    """

    name: str
    kind: str
    machine: int = 0
    memory_bytes: int | None = None
    speed: Speed = CPU_SPEED

    def __post_init__(self) -> None:
        _check_memory(self.name, self.memory_bytes)

    @property
    def is_cpu(self) -> bool:
        """Whether this is a logical CPU device, which computes in its machine's memory."""
        return self.name.partition(":")[0] == "cpu"

    @property
    def shares_memory(self) -> bool:
        """Whether it has no memory of its own."""
        return self.is_cpu and self.memory_bytes is None


@dataclass(frozen=True)
class Link:
    """What connects two devices.

    Attributes:
        latency_ms: from the end of an action to the start of the one that its result is for.
        bytes_per_s: how fast results cross, one after another; infinite where they stay where they
            are.

    Raises:
        UsageError: the latency is negative or not finite, or the rate is not positive.
    """

    latency_ms: float
    bytes_per_s: float

    def __post_init__(self) -> None:
        if not (0 <= self.latency_ms < inf and self.bytes_per_s > 0):
            raise UsageError(
                f"{self} is not a link: the latency must be at least 0 and the rate above 0; give"
                " what the connection reaches."
            )

    def ms(self, n_bytes: float) -> float:
        """How long a result of so many bytes takes."""
        return self.latency_ms + self.transfer_ms(n_bytes)

    def transfer_ms(self, n_bytes: float) -> float:
        """How long so many bytes occupy the link: the latency does not."""
        return 1e3 * n_bytes / self.bytes_per_s


@dataclass(frozen=True)
class Machine:
    """One machine of a cluster.

    Attributes:
        n_cores: of its processors that a run may use; None if it is not known.
        memory_bytes: which its logical CPU devices share; None if it is not known.

    Raises:
        UsageError: one of them is not positive.
    """

    n_cores: int | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        _check_memory("a machine", self.memory_bytes)
        if self.n_cores is not None and self.n_cores < 1:
            raise UsageError(f"a machine has n_cores={self.n_cores}; give it at least one core.")


# Threads that hand a tensor over by its address.
IN_ONE_MEMORY = Link(latency_ms=0.05, bytes_per_s=inf)
# Assumed, as in the benchmark of GPUs: PCIe 4, which every machine has.
OVER_PCIE = Link(latency_ms=0.01, bytes_per_s=25e9)


@dataclass(frozen=True)
class Cluster:
    """The devices that a plan may use, in the order in which it uses them.

    Attributes:
        devices: at least one device, each name once.
        machines: that they are in.
        inside: links two devices of one machine, both accelerators or both CPU devices; one of
            each are assumed to be linked by PCIe.
        between: links devices of two machines.
        name: as the user knows it, like "8xh100".

    Raises:
        UsageError: there is no device, a name occurs twice, a device is in no machine, or devices
            of one kind have different speeds.
    """

    devices: tuple[Device, ...]
    machines: tuple[Machine, ...] = (Machine(),)
    inside: Link = IN_ONE_MEMORY
    between: Link = IN_ONE_MEMORY
    name: str = "local"

    def __post_init__(self) -> None:
        if not self.devices:
            raise UsageError("the cluster has no device; give it at least one, like 'cpu:0'.")
        if len(self._by_name) < len(self.devices):
            names = self.device_names
            again = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"the cluster names {again} more than once; name each device once.")
        for device in self.devices:
            if not 0 <= device.machine < len(self.machines):
                raise UsageError(
                    f"{device.name} is in machine {device.machine}, but the cluster has"
                    f" {len(self.machines)}, counted from 0; put it into one of them."
                )
        speeds: dict[str, Speed] = {}
        for device in self.devices:
            if speeds.setdefault(device.kind, device.speed) != device.speed:
                raise UsageError(
                    f"devices of the kind {device.kind} have different speeds, {device.name}"
                    " another than those before; give each speed a kind of its own."
                )

    @classmethod
    def of(cls, names: Iterable[str]) -> "Cluster":
        """Describe devices of one machine by their names alone, each as its kind usually is."""
        return cls(tuple(map(_usual, names)))

    @cached_property
    def device_names(self) -> tuple[str, ...]:
        """The devices' names, in order."""
        return tuple(device.name for device in self.devices)

    @property
    def is_local(self) -> bool:
        """Whether these are devices of this machine, and not of a description."""
        return self.name == "local"

    def device(self, name: str) -> Device:
        """Look up a device by its name, like "cuda:0".

        Raises:
            UsageError: the cluster has no device of that name.
        """
        if name not in self._by_name:
            raise UsageError(
                f"the cluster has no device {name!r}; it has {', '.join(self.device_names)}."
            )
        return self._by_name[name]

    def only(self, names: Iterable[str]) -> "Cluster":
        """Return the cluster with these devices alone, in their order.

        Raises:
            UsageError: it lacks one of them.
        """
        return replace(self, devices=tuple(map(self.device, names)))

    def link(self, one: Device, other: Device) -> Link:
        """Return what connects two devices; what goes from a device to itself stays there."""
        if one.name == other.name:
            return replace(self.inside, bytes_per_s=inf)
        if one.machine != other.machine:
            return self.between
        return self.inside if one.is_cpu == other.is_cpu else OVER_PCIE

    @cached_property
    def _by_name(self) -> dict[str, Device]:
        return {device.name: device for device in self.devices}


def _usual(name: str) -> Device:
    kind = name.partition(":")[0]
    return Device(name, kind, speed=CPU_SPEED if kind == "cpu" else ACCELERATOR_SPEED)
