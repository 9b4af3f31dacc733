"""How a command ends: its exit status, and how it prints errors and warnings of the data."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gru_parallel.errors import DataWarning

USAGE_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143


def fail(message: object, status: int) -> int:
    """Print a message as an error and return the exit status."""
    print(f"gru_parallel: {message}", file=sys.stderr)
    return status


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
