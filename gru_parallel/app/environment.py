"""What a run ran on and with: versions, machine, devices."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

import torch

from gru_parallel.engine.devices import n_cores
from gru_parallel.profiling.machine import processor
from gru_parallel.version import __version__


def environment(devices: Sequence[str]) -> dict[str, str]:
    """Describe the software and this machine, for people.

    Args:
        devices: of the run; those that are not here, as on another machine, are left out.
    """
    return {
        "gru_parallel": __version__,
        "torch": str(torch.__version__),
        "lightning": version("lightning"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": str(n_cores()),
    } | {name: torch.cuda.get_device_name(name) for name in devices if _is_card_here(name)}


def _is_card_here(name: str) -> bool:
    kind, _, index = name.partition(":")
    return kind == "cuda" and int(index) < torch.cuda.device_count()
