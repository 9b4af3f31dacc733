"""Devices by name: which exist, which a run uses by default, and torch's device behind a name."""

from __future__ import annotations

import os

import torch

MIN_LOGICAL_CPUS = 8
"""Logical CPU devices exist even where cores are fewer, so that any plan can be tried anywhere."""


def accelerator_names() -> tuple[str, ...]:
    """Return this machine's accelerators, such as ("cuda:0", "cuda:1"); () where there are none."""
    kind = torch.accelerator.current_accelerator(check_available=True)
    if kind is None:
        return ()
    return tuple(f"{kind.type}:{index}" for index in range(torch.accelerator.device_count()))


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def existing_devices() -> tuple[str, ...]:
    """Return every device name that a device map may use here, accelerators first."""
    cpus = max(MIN_LOGICAL_CPUS, n_cores())
    return (*accelerator_names(), *(f"cpu:{index}" for index in range(cpus)))


def default_devices() -> tuple[str, ...]:
    """Return what a run uses by default: every accelerator, or a logical CPU device a core."""
    return accelerator_names() or tuple(f"cpu:{index}" for index in range(n_cores()))


def devices_of_ranks(n_ranks: int) -> tuple[str, ...]:
    """Name a device for each rank of a replica: of accelerators, if its machine has any."""
    kind = torch.accelerator.current_accelerator(check_available=True)
    return tuple(f"{'cpu' if kind is None else kind.type}:{index}" for index in range(n_ranks))


def existing_devices_of_ranks(n_ranks: int) -> tuple[str, ...]:
    """Return every device name that a device map for ranks may use, accelerators first."""
    of_ranks = devices_of_ranks(n_ranks)
    cpus = tuple(f"cpu:{index}" for index in range(max(MIN_LOGICAL_CPUS, n_ranks)))
    return cpus if of_ranks[0].startswith("cpu") else (*of_ranks, *cpus)


def torch_device(name: str) -> torch.device:
    """Return torch's device behind a name; every logical CPU device is torch's one CPU."""
    device = torch.device(name)
    return torch.device("cpu") if device.type == "cpu" else device
