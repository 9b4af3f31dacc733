"""Device, Link, Cluster: how fast and how large the machinery is that a plan spreads over."""

from dataclasses import dataclass

from gru_parallel.errors import UsageError


@dataclass(frozen=True)
class Device:
    """One device, as the planner sees it.

    Attributes:
        name: like "cuda:0" or "cpu:1".
        flops_per_s: floating-point operations a second that a GRU layer really reaches.
        memory_bytes: memory that a stage may use, or None where it is unknown.
    """

    name: str
    flops_per_s: float
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if not self.flops_per_s > 0:
            raise UsageError(
                f"flops_per_s={self.flops_per_s} of {self.name} is not positive; "
                "give the speed that the device reaches."
            )

    def compute_ms(self, flops: float) -> float:
        """Work out how long the device computes.

        Args:
            flops: floating-point operations.

        Returns:
            Time in milliseconds.
        """
        return 1e3 * flops / self.flops_per_s


@dataclass(frozen=True)
class Link:
    """What carries activations from one device to the next.

    Attributes:
        bytes_per_s: bandwidth.
        latency_s: time that a transfer of nothing takes.
    """

    bytes_per_s: float
    latency_s: float

    def __post_init__(self) -> None:
        if not (self.bytes_per_s > 0 and self.latency_s >= 0):
            raise UsageError(
                f"a link of bytes_per_s={self.bytes_per_s} and latency_s={self.latency_s} cannot "
                "be; use bytes_per_s > 0 and latency_s >= 0."
            )


@dataclass(frozen=True)
class Cluster:
    """The devices that a plan may use, in the order in which it uses them.

    Attributes:
        devices: at least one device, each name once.
        link: what joins each two of them.
    """

    devices: tuple[Device, ...]
    link: Link

    def __post_init__(self) -> None:
        if not self.devices:
            raise UsageError("the cluster has no device; give it at least one, like 'cpu:0'.")
        names = self.device_names
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"the cluster names {name} more than once; name each device once.")

    @property
    def device_names(self) -> tuple[str, ...]:
        """The devices' names, in order."""
        return tuple(device.name for device in self.devices)

    def device(self, name: str) -> Device:
        """Look a device up by its name.

        Args:
            name: like "cuda:0".

        Returns:
            The device.

        Raises:
            UsageError: the cluster has no device of that name.
        """
        for device in self.devices:
            if device.name == name:
                return device
        raise UsageError(
            f"the cluster has no device {name!r}; it has {', '.join(self.device_names)}."
        )
