"""How a command ends: its exit status, and how it prints errors and warnings of the data."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gru_parallel.errors import DataWarning

USAGE_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143
LAST_OF_A_PROGRAM = 127
"""Above it, an exit status tells of a signal."""

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def fail(message: object, status: int) -> int:
    """Print a message as an error and return the exit status."""
    print(f"gru_parallel: {message}", file=sys.stderr)
    return status


def is_of_the_disk(error: OSError) -> bool:
    """Whether an error tells of a disk that takes no more, and not of a fault of the program."""
    return error.errno in _OF_THE_DISK


@contextmanager
def data_warnings() -> Iterator[None]:
    """Print warnings of the data as errors are printed, in one line."""
    show = warnings.showwarning

    def show_warning(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DataWarning):
            fail(message, 0)
        else:
            show(message, category, *where, **more)

    warnings.showwarning = show_warning
    try:
        yield
    finally:
        warnings.showwarning = show
