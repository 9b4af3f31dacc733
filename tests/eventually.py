"""Waiting for what another thread does next: it may hold its last objects a moment longer."""

import time
from collections.abc import Callable

POLL_S = 0.005


def eventually(holds: Callable[[], bool], within_s: float = 5.0) -> bool:
    """Whether something comes to be true within some seconds."""
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True
