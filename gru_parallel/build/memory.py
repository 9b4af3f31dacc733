"""Refuses a model or a series that this machine's memory cannot hold, before it is made."""

from __future__ import annotations

import os
from pathlib import Path

from gru_parallel.build.module import Part
from gru_parallel.build.plan import Planned
from gru_parallel.config import Config
from gru_parallel.errors import UsageError
from gru_parallel.report.units import format_bytes

_LIMIT_OF_CONTAINER = Path("/sys/fs/cgroup/memory.max")
_BYTES = {"64-true": 8, "64": 8, 64: 8}


def check_memory(config: Config, planned: Planned, part: Part | None = None) -> None:
    """Check that this machine has the memory for the weights, and on CPUs for their gradients.

    Activations are left out: how many live at once, the schedule decides. All weights are drawn in
    this machine's memory, wherever they go then.

    Args:
        config: the run's settings.
        planned: the run's plan.
        part: the part of the model that this process has; None for all of it.

    Raises:
        UsageError: there is less than that.
    """
    there = memory_bytes()
    on_cpu = all(device.startswith("cpu") for device in planned.plan.all_devices)
    blocks = range(len(planned.block_costs)) if part is None else sorted(part.blocks)
    n_numbers = sum(planned.block_costs[block].n_parameters for block in blocks)
    asked = n_numbers * _BYTES.get(config.trainer.precision, 4) * (2 if on_cpu else 1)
    if there is not None and asked > there:
        what = "weights and their gradients" if on_cpu else "weights"
        raise UsageError(
            f"model.hidden_size={config.model.hidden_size} asks for {format_bytes(asked)} of {what}"
            f" (model.num_layers={config.model.num_layers}), and this machine has"
            f" {format_bytes(there)} of memory; make one of them smaller."
        )


def check_series_memory(n_steps: int, n_channels: int) -> None:
    """Check that this machine has the memory for a generated series.

    Raises:
        UsageError: it does not.
    """
    there, asked = memory_bytes(), 8 * n_steps * n_channels
    if there is not None and asked > there:
        raise UsageError(
            f"data.n_steps={n_steps} and data.n_channels={n_channels} ask for"
            f" {format_bytes(asked)}, and this machine has {format_bytes(there)} of memory; make"
            " one of them smaller."
        )


def memory_bytes() -> int | None:
    """Return the memory that this process may have at most; None where that is not known."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        limit = _LIMIT_OF_CONTAINER.read_text(encoding="ascii").strip()
    except OSError:
        return there
    return min(there, int(limit)) if limit.isdigit() else there
