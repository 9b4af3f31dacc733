"""Refuses a model or a series that does not fit this machine's memory, before it is created."""

from __future__ import annotations

import os
from pathlib import Path

from gru_parallel.config.schema import Config
from gru_parallel.engine.devices import accelerator_kind
from gru_parallel.errors import UsageError
from gru_parallel.placement.cost import N_GATES
from gru_parallel.report.units import format_bytes
from gru_parallel.rules import as_written
from gru_parallel.verification.settings import Settings

_LIMIT_OF_CONTAINER = Path("/sys/fs/cgroup/memory.max")
_BYTES = {"64-true": 8, "64": 8, 64: 8}


def check_memory(config: Config, n_ranks: int = 1) -> None:
    """Check that this machine has the memory for the weights, and on CPUs for their gradients.

    All weights are drawn in this machine's memory, wherever they are moved then. Activations are
    not counted, as the schedule decides how many are kept at once: the run may need more.

    Args:
        config: the run's settings.
        n_ranks: number of ranks of a replica, which divide the weights.

    Raises:
        UsageError: it does not have it.
    """
    there = memory_bytes()
    hidden, n_layers = config.model.hidden_size, config.model.num_layers
    # A lower bound: the first layer's input may be narrower, a bidirectional layer is larger.
    n_weights = (n_layers - 1) * N_GATES * hidden * (2 * hidden + 2) + N_GATES * hidden * hidden
    on_cpu = accelerator_kind() is None
    n_bytes = _BYTES.get(config.trainer.precision, 4) * (2 if on_cpu else 1)
    asked = n_weights * n_bytes // n_ranks
    if there is not None and asked > there:
        what = "weights and their gradients" if on_cpu else "weights"
        raise UsageError(
            f"model.hidden_size={hidden} and model.num_layers={n_layers} ask for"
            f" {format_bytes(asked)} of {what}, and this machine has {format_bytes(there)} of"
            " memory; make one of them smaller."
        )


def check_series_memory(n_steps: int, n_channels: int) -> None:
    """Check that this machine has the memory for a generated series.

    Raises:
        UsageError: it does not have it.
    """
    there, asked = memory_bytes(), 8 * n_steps * n_channels
    if there is not None and asked > there:
        raise UsageError(
            f"data.n_steps={n_steps} and data.n_channels={n_channels} ask for"
            f" {format_bytes(asked)}, and this machine has {format_bytes(there)} of memory; make"
            " one of them smaller."
        )


def check_memory_of_verify(settings: Settings) -> None:
    """Check that this machine has the memory for the nn.GRU that is cut, and for the cut one.

    Raises:
        UsageError: it does not have it.
    """
    there, hidden, n_layers = memory_bytes(), settings.hidden_size, settings.num_layers
    n_weights = n_layers * N_GATES * hidden * (2 * hidden + 2)
    n_outputs = n_layers * settings.batch_size * max(settings.lengths) * hidden
    # Two models, each with its gradients.
    asked = 4 * (8 if settings.dtype == "float64" else 4) * (n_weights + n_outputs)
    if there is not None and asked > there:
        raise UsageError(
            f"num_layers={n_layers}, hidden_size={hidden}, batch_size={settings.batch_size} and"
            f" lengths={as_written(settings.lengths)} ask for {format_bytes(asked)}, and this"
            f" machine has {format_bytes(there)} of memory; make one of them smaller."
        )


def memory_bytes() -> int | None:
    """Return the memory that this process may have at most; None if it is not known."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        limit = _LIMIT_OF_CONTAINER.read_text(encoding="ascii").strip()
    except OSError:
        return there
    return min(there, int(limit)) if limit.isdigit() else there
