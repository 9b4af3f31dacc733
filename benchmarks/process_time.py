"""CPU time of this process and of all that it has started, idle ones included."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import NamedTuple

PROC = Path("/proc")


class Seen(NamedTuple):
    """A process, as /proc tells of it.

    Attributes:
        parent: the number of the process that started it.
        cpu_ms: its CPU time so far.
    """

    parent: int
    cpu_ms: float


def own_cpu_ms() -> float:
    """Return the CPU time of this process, and of those below it that are alive."""
    started = below(os.getpid(), _alive())
    return process_time() * 1e3 + sum(seen.cpu_ms for seen in started)


def below(process: int, alive: Mapping[int, Seen]) -> Iterable[Seen]:
    """Yield all processes that a process has started, and those that these have."""
    for number, seen in alive.items():
        if seen.parent == process:
            yield seen
            yield from below(number, alive)


def parse_stat(text: str, ticks_per_s: int) -> Seen:
    """Read /proc/PID/stat, whose fields are in proc(5)."""
    # The name of the program, in brackets, may have spaces and brackets in it.
    fields = text.rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return Seen(int(fields[1]), (user + system) * 1e3 / ticks_per_s)


def _alive() -> dict[int, Seen]:
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    alive: dict[int, Seen] = {}
    for folder in PROC.glob("[0-9]*"):
        # It may end meanwhile.
        with suppress(OSError):
            alive[int(folder.name)] = parse_stat((folder / "stat").read_text(), ticks_per_s)
    return alive
