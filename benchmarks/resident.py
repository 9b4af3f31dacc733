"""The peak of this process's resident set while something runs, as Linux counts it."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Makes VmHWM begin anew at VmRSS; see proc_pid_clear_refs(5)."""


def resident_bytes(run: Callable[[], object]) -> int:
    """Run, and return the peak of the resident set above what it was before."""
    gc.collect()
    CLEAR_REFS.write_text(RESET_PEAK)
    before = parse_status(STATUS.read_text(), "VmRSS")
    run()
    return parse_status(STATUS.read_text(), "VmHWM") - before


def peak_bytes(run: Callable[[], object]) -> tuple[int, ...]:
    """Run in a process that has run other things before; return the peak as `resident_bytes` does.

    What the allocator has kept of the memory of others is handed back first, or none of it would
    count. Where the system does not count, or the allocator keeps what it has, the answer is ().
    """
    if not CLEAR_REFS.exists() or not hand_back():
        run()
        return ()
    return (resident_bytes(run),)


def hand_back() -> bool:
    """Have the allocator hand back what it keeps; return whether it is one that can, as glibc's."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    gc.collect()
    trim(0)
    return True


def parse_status(text: str, name: str) -> int:
    """Read a size from the text of /proc/self/status, in bytes."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name}:"))
    size, unit = line.partition(":")[2].split()
    assert unit == "kB"
    return int(size) * 1024
