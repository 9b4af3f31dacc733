"""Devices by name: which exist, and which a run uses by default."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, entry_points, version

MIN_LOGICAL_CPUS = 8
"""Logical CPU devices exist even where cores are fewer, so that any plan can be tried anywhere."""


def is_cpu_build() -> bool:
    """Whether the installed torch cannot have an accelerator, as its version and others tell.

    PyTorch marks its CPU builds for Linux and Windows by "+cpu" in the version; all others, those
    for macOS among them, may have an accelerator. Another package may bring one into a CPU build,
    and tells torch so by an entry point.
    """
    with suppress(PackageNotFoundError):
        return version("torch").endswith("+cpu") and not entry_points(group="torch.backends")
    return False


def accelerator_kind() -> str | None:
    """Return the kind of this machine's accelerators, such as "cuda"; None where there are none."""
    if "torch" not in sys.modules and is_cpu_build():
        return None
    # Not at the top: it takes more than a second, and often nobody has to ask torch.
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    return None if device is None else device.type


def accelerator_names() -> tuple[str, ...]:
    """Return this machine's accelerators, such as ("cuda:0", "cuda:1"); () where there are none."""
    kind = accelerator_kind()
    if kind is None:
        return ()
    import torch

    return tuple(f"{kind}:{index}" for index in range(torch.accelerator.device_count()))


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def existing_devices() -> tuple[str, ...]:
    """Return every device name that a device map may use here, accelerators first."""
    cpus = max(MIN_LOGICAL_CPUS, n_cores())
    return (*accelerator_names(), *(f"cpu:{index}" for index in range(cpus)))


def default_devices() -> tuple[str, ...]:
    """Return what a run may use by default: every accelerator, or a logical CPU device a core."""
    return accelerator_names() or tuple(f"cpu:{index}" for index in range(n_cores()))


def devices_of_ranks(n_ranks: int) -> tuple[str, ...]:
    """Name a device for each rank of a replica: of accelerators, if its machine has any."""
    kind = accelerator_kind() or "cpu"
    return tuple(f"{kind}:{index}" for index in range(n_ranks))


def existing_devices_of_ranks(n_ranks: int) -> tuple[str, ...]:
    """Return every device name that a device map for ranks may use, accelerators first."""
    of_ranks = devices_of_ranks(n_ranks)
    cpus = tuple(f"cpu:{index}" for index in range(max(MIN_LOGICAL_CPUS, n_ranks)))
    return cpus if of_ranks[0].startswith("cpu") else (*of_ranks, *cpus)
