"""This machine and the software on it, as far as measured times depend on them."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gru_parallel.engine.devices import n_cores
from gru_parallel.placement.cluster import Cluster
from gru_parallel.version import __version__

CPUINFO = Path("/proc/cpuinfo")


def describe_machine(cluster: Cluster) -> dict[str, Any]:
    """Return processor, cores, devices and versions."""
    return {
        "processor": processor(),
        "n_cores": n_cores(),
        "devices": sorted({device.kind for device in cluster.devices}),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "gru_parallel": __version__,
    }


def processor() -> str:
    """Return the model name of the processor."""
    try:
        name = processor_name(CPUINFO.read_text(encoding="utf-8"))
    except OSError:
        name = None
    return name or platform.processor() or platform.machine()


def processor_name(cpuinfo: str) -> str | None:
    """Find the model name in the text of /proc/cpuinfo, with family and model where they are given.

    Virtual machines often hide the marketing name, so the numbers tell more.
    """
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name")
    if name and "cpu family" in fields and "model" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name
