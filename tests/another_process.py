"""Another process that holds something until it is killed."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def another_process(work: Callable[[], object]) -> Iterator[int]:
    """Fork a process that does something and then waits; it is killed at the end."""
    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os.write(tells, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tells)
    try:
        assert os.read(told, 1) == b".", "it failed"
        yield pid
    finally:
        end(pid)
        os.close(told)


def end(pid: int) -> None:
    """Kill a process, if it has not been killed yet."""
    with suppress(ChildProcessError, ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
