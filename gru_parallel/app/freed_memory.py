"""Has the process keep the memory that a training step frees, for the next step."""

from __future__ import annotations

import ctypes
import os
import sys

_SETTINGS = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)

_M_TOP_PAD, _M_MMAP_THRESHOLD = -2, -3
_HEAP_BYTES = 64 << 20
"""So large is a heap of a thread in glibc on 64-bit machines."""


def keep_freed_memory() -> bool:
    """Have glibc keep what threads free, instead of giving it back to the system.

    A stage's worker frees the activations of a step towards its end and needs as much in the next.
    What glibc has given back in between is new memory then, which the system clears page by page.
    How much that is depends on sizes and order, so one plan is fast in one process and slow in
    another.

    Returns:
        Whether it was done: not where an environment variable of glibc's allocator is set, nor with
        another C library.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _SETTINGS):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    # A heap that is free is given back only if this much were left without it. And blocks of up to
    # half a heap lie in heaps: those that are mapped apart are given back at once.
    is_padded = library.mallopt(_M_TOP_PAD, _HEAP_BYTES)
    return bool(is_padded and library.mallopt(_M_MMAP_THRESHOLD, _HEAP_BYTES // 2))
