"""Clocks: how long a step takes a GPU and its host, and how much of the GPU's memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

import torch

from benchmarks.gpu.steps import RANK_STEPS, another


class Clock(Protocol):
    """Times steps on some devices, and counts their memory."""

    def clear(self) -> None:
        """Give back what earlier subjects have left, and count memory from here."""
        ...

    def wait(self) -> None:
        """Wait until the devices have finished all that was queued."""
        ...

    def peak_bytes(self) -> int | None:
        """Return the most that tensors took since `clear`, of the device with the most."""
        ...

    def held_bytes(self) -> int | None:
        """Return what stays reserved between two steps, of the device with the most."""
        ...


class CUDAClock:
    """See `Clock`. Replays allocate nothing: their memory is that of the capture before.

    Args:
        devices: the GPUs.
    """

    def __init__(self, devices: Sequence[torch.device]) -> None:
        self._devices = devices
        self._allocated: dict[torch.device, int] = {}
        self._reserved: dict[torch.device, int] = {}

    def clear(self) -> None:
        """See `Clock`."""
        gc.collect()
        self.wait()
        # cuBLAS keeps some tens of MiB for each stream that has ever used it.
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        for device in self._devices:
            torch.cuda.reset_peak_memory_stats(device)
            self._allocated[device] = torch.cuda.memory_allocated(device)
            self._reserved[device] = torch.cuda.memory_reserved(device)

    def wait(self) -> None:
        """See `Clock`."""
        for device in self._devices:
            torch.cuda.synchronize(device)

    def peak_bytes(self) -> int | None:
        """See `Clock`."""
        return max(
            torch.cuda.max_memory_allocated(device) - before
            for device, before in self._allocated.items()
        )

    def held_bytes(self) -> int | None:
        """See `Clock`."""
        self.wait()
        # What remains are weights, gradients, and the private pools of graphs.
        torch.cuda.empty_cache()
        return max(
            torch.cuda.memory_reserved(device) - before for device, before in self._reserved.items()
        )


class CPUClock:
    """See `Clock`: work is done when a call returns, and memory is not counted."""

    def clear(self) -> None:
        """See `Clock`."""
        gc.collect()

    def wait(self) -> None:
        """See `Clock`."""

    def peak_bytes(self) -> int | None:
        """See `Clock`."""
        return None

    def held_bytes(self) -> int | None:
        """See `Clock`."""
        return None


def make_clock(devices: Sequence[torch.device]) -> Clock:
    """Return a clock for devices of one kind."""
    return CPUClock() if devices[0].type == "cpu" else CUDAClock(devices)


def timed_step(clock: Clock, step: Callable[[], object]) -> tuple[float, float]:
    """Run a step and return how long it took, and how long the host took to queue it; in ms."""
    clock.wait()
    start = perf_counter()
    step()
    queued = perf_counter()
    clock.wait()
    return (perf_counter() - start) * 1e3, (queued - start) * 1e3


def timed_steps(
    clock: Clock,
    step: Callable[[], object],
    seconds: float,
    meet: Callable[[], object] | None = None,
) -> list[tuple[float, float]]:
    """Run steps for a while; return what `timed_step` does of each.

    Args:
        clock: of the devices.
        step: runs one.
        seconds: see `another`.
        meet: waits for the other ranks, before each step; the number of steps is fixed then.
    """
    found: list[tuple[float, float]] = []
    start = perf_counter()
    if meet is not None:
        for _ in range(RANK_STEPS):
            meet()
            found.append(timed_step(clock, step))
        return found
    while another(len(found), seconds - (perf_counter() - start)):
        found.append(timed_step(clock, step))
    return found
