"""Where the machine's time went: stolen by other guests, or taken by other processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC_STAT = Path("/proc/stat")

Share = float
"""A part of the time of all the machine's processors, from 0 to 1."""


@dataclass(frozen=True)
class MachineTime:
    """Time of all processors together since the machine started.

    Attributes:
        total_ms: all of it.
        idle_ms: of that, with nothing to do.
        stolen_ms: of that, runnable but not run, because the host ran another guest.
    """

    total_ms: float
    idle_ms: float
    stolen_ms: float

    def __sub__(self, earlier: MachineTime) -> MachineTime:
        return MachineTime(
            self.total_ms - earlier.total_ms,
            self.idle_ms - earlier.idle_ms,
            self.stolen_ms - earlier.stolen_ms,
        )

    @property
    def stolen(self) -> Share:
        """The stolen share."""
        return self.stolen_ms / self.total_ms if self.total_ms > 0 else 0.0

    def others(self, ours_ms: float) -> Share:
        """Work out what processes other than ours took.

        Args:
            ours_ms: CPU time that we used.

        Returns:
            The share that was neither idle, nor stolen, nor ours; 0 where rounding makes it less.
        """
        if self.total_ms <= 0:
            return 0.0
        return max(0.0, (self.total_ms - self.idle_ms - self.stolen_ms - ours_ms) / self.total_ms)


def parse_stat(text: str, ticks_per_s: int) -> MachineTime | None:
    """Read the first line of /proc/stat, whose columns are in proc(5).

    Args:
        text: the file's content.
        ticks_per_s: the unit of its numbers.

    Returns:
        The machine's time; None where the kernel counts no steal.
    """
    first = text.split("\n", 1)[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None
    # Guest time, after steal, is counted in user and nice already.
    user, nice, system, idle, iowait, irq, softirq, steal = (
        int(ticks) * 1e3 / ticks_per_s for ticks in first[1:9]
    )
    total = user + nice + system + idle + iowait + irq + softirq + steal
    return MachineTime(total, idle + iowait, steal)


def read_machine_time() -> MachineTime | None:
    """Return the machine's time up to now; None where there is no /proc/stat."""
    try:
        text = PROC_STAT.read_text()
    except OSError:
        return None
    return parse_stat(text, os.sysconf("SC_CLK_TCK"))
