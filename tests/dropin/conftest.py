"""Every test of the drop-in looks whether the workers end."""

import gc
import threading
from collections.abc import Iterator

import pytest

THREADS_USUALLY_END_WITHIN_S = 0.1


def workers() -> list[threading.Thread]:
    """Return the drop-ins' threads that are alive."""
    return [t for t in threading.enumerate() if t.name.startswith("gru_parallel")]


@pytest.fixture(autouse=True)
def workers_end(no_thread_left: None) -> Iterator[None]:
    """A drop-in has no `close`: its workers end with it, and so with the test."""
    yield
    for worker in workers():
        worker.join(THREADS_USUALLY_END_WITHIN_S)
    if workers():
        # An error that the test has caught holds the test's own frame, and what is in it.
        gc.collect()
