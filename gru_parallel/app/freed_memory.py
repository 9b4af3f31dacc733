"""Has the process keep the memory that a training step frees, for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

_HEAP_BYTES = 64 << 20
"""So large is a heap of a thread in glibc on 64-bit machines."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_OPTIONS = (
    # Blocks that are mapped apart are given back at once: these lie in heaps.
    (_M_MMAP_THRESHOLD, _HEAP_BYTES // 2),
    # A heap that is free is given back only if this much were left without it.
    (_M_TOP_PAD, _HEAP_BYTES),
    # The heap of the main thread has no size of its own.
    (_M_TRIM_THRESHOLD, 2**31 - 1),
)


def keep_freed_memory() -> bool:
    """Have glibc keep what threads free, instead of giving it back to the system.

    A stage's worker frees the activations of a step towards its end and needs as much in the next.
    What glibc has given back in between is new memory then, which the system clears page by page.
    How much that is depends on sizes and order, so one plan is fast in one process and slow in
    another.

    Returns:
        Whether glibc was told: not where an environment variable says how memory is allocated, nor
        with another C library.
    """
    is_set = "GLIBC_TUNABLES" in os.environ or any(n.startswith("MALLOC_") for n in os.environ)
    if sys.platform != "linux" or is_set:
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(option, value) for option, value in _OPTIONS)
