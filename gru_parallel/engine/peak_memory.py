"""The peak of memory: of CUDA devices as torch's allocator counts it, of the process as a whole."""

from __future__ import annotations

import resource
from collections.abc import Sequence

import torch

from gru_parallel.stage.stage import Stage

_UNIT_BYTES = 1024
"""Of ru_maxrss on Linux, see getrusage(2)."""


def forget_peaks(stages: Sequence[Stage]) -> None:
    """Begin anew to look for the peak on the CUDA devices of these stages."""
    for device in {device for stage in stages for device in stage.devices}:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(stages: Sequence[Stage]) -> dict[int, int]:
    """Return the most memory that was allocated since `forget_peaks`, by stage.

    Without stages on CPUs, and those that share a device: an allocator does not tell stages apart.
    """
    devices = [device for stage in stages for device in stage.devices]
    return {
        stage.index: sum(map(torch.cuda.max_memory_allocated, stage.devices))
        for stage in stages
        if all(device.type == "cuda" and devices.count(device) == 1 for device in stage.devices)
    }


def peak_bytes_of_devices(stages: Sequence[Stage]) -> dict[int, int]:
    """Return the most memory that the devices of each stage held, of all stages on them together.

    Of CUDA devices it is what was allocated since `forget_peaks`; of CPUs, the largest resident set
    of this process.
    """

    def held(device: torch.device) -> int:
        is_cuda = device.type == "cuda"
        return torch.cuda.max_memory_allocated(device) if is_cuda else peak_rss_bytes()

    return {stage.index: sum(map(held, _apart(stage.devices))) for stage in stages}


def _apart(devices: Sequence[torch.device]) -> set[torch.device]:
    """Return devices that have memory of their own: all CPUs of a process are one."""
    return {device if device.type == "cuda" else torch.device("cpu") for device in devices}


def peak_rss_bytes() -> int:
    """Return the largest resident set that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT_BYTES
