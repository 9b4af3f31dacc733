"""What the numbers were measured on: processor, cores, versions."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """The machine and the software that ran.

    Attributes:
        processor: its model name.
        n_cores: logical processors that the run could use.
        system: operating system and architecture.
        versions: of Python and the packages that matter.
        cards: models of the GPUs that ran.
    """

    processor: str
    n_cores: int
    system: str
    versions: dict[str, str]
    cards: tuple[str, ...] = ()


def this_machine() -> Machine:
    """Describe the machine that this runs on."""
    versions = {"python": platform.python_version()}
    versions["torch"] = version("torch")
    return Machine(
        processor=_processor(),
        n_cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        versions=versions,
    )


def _processor() -> str:
    try:
        name = processor_name(CPUINFO.read_text())
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
