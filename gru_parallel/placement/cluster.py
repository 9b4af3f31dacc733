"""Device, Cluster: how fast the devices of a plan are."""

from collections.abc import Iterable
from dataclasses import dataclass

from gru_parallel.errors import UsageError

# What a GRU layer of medium size reaches, measured on one core of a server CPU at H=128 to 256; for
# accelerators an order of magnitude. Only predicted times depend on them, not the plan.
CPU_FLOPS_PER_S = 7e10
ACCELERATOR_FLOPS_PER_S = 5e12


@dataclass(frozen=True)
class Device:
    """One device, as the planner sees it.

    Attributes:
        name: like "cuda:0" or "cpu:1".
        flops_per_s: floating-point operations per second that a GRU layer reaches in practice.
    """

    name: str
    flops_per_s: float

    def __post_init__(self) -> None:
        if not self.flops_per_s > 0:
            raise UsageError(
                f"flops_per_s={self.flops_per_s} of {self.name} is not positive; "
                "give the speed that the device reaches."
            )

    def compute_ms(self, flops: float) -> float:
        """The time in ms that the device takes for floating-point operations."""
        return 1e3 * flops / self.flops_per_s


@dataclass(frozen=True)
class Cluster:
    """The devices that a plan may use, in the order in which it uses them.

    Attributes:
        devices: at least one device, each name once.
    """

    devices: tuple[Device, ...]

    def __post_init__(self) -> None:
        if not self.devices:
            raise UsageError("the cluster has no device; give it at least one, like 'cpu:0'.")
        names = self.device_names
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"the cluster names {name} more than once; name each device once.")

    @classmethod
    def of(cls, names: Iterable[str]) -> "Cluster":
        """Describe devices by their names alone: each is as fast as its kind usually is."""
        devices = (
            Device(name, CPU_FLOPS_PER_S if name.startswith("cpu") else ACCELERATOR_FLOPS_PER_S)
            for name in names
        )
        return cls(tuple(devices))

    @property
    def device_names(self) -> tuple[str, ...]:
        """The devices' names, in order."""
        return tuple(device.name for device in self.devices)

    def device(self, name: str) -> Device:
        """Look up a device by its name, like "cuda:0".

        Raises:
            UsageError: the cluster has no device of that name.
        """
        for device in self.devices:
            if device.name == name:
                return device
        raise UsageError(
            f"the cluster has no device {name!r}; it has {', '.join(self.device_names)}."
        )
