"""Processes that are forked from one, which has imported for all of them what they need.

That saves seconds for each of them. The process is a fork server of multiprocessing's, which has no
threads.
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.forkserver
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.preloaded"])
ROOT = Path(__file__).parents[1]
POLL_S = 0.02

# multiprocessing asks about all of its processes whenever it starts one, and an exit status can be
# read once: without it, worlds that start in several threads take statuses from each other.
_ONE_AT_A_TIME = threading.Lock()


class ForkedRank:
    """A rank, or a run without any, as a process of its own.

    Args:
        environment: all of its variables; RANK is not among them where it is no rank.
        work: what it does; a function of a module, or a `partial` of one.
        folder: where it begins, and writes what it prints, into `out` and `err`.
    """

    def __init__(
        self, environment: Mapping[str, str], work: Callable[[], object], folder: Path
    ) -> None:
        arguments = (dict(environment), work, folder)
        self._process = SERVER.Process(target=_be_rank, args=arguments, daemon=True)
        with _ONE_AT_A_TIME:
            _ensure_server()
            self._process.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit status, negative for the signal that killed it; None while it runs."""
        with _ONE_AT_A_TIME:
            return self._process.exitcode

    def signal(self, number: int, *, to_its_group: bool = False) -> None:
        """Send it a signal, or all of the group of processes that it leads."""
        send = os.killpg if to_its_group else os.kill
        send(self.pid, number)

    def kill(self) -> int:
        """Kill it if it still runs, and return its exit status."""
        if self.poll() is None:
            self._process.kill()
        while (status := self.poll()) is None:
            time.sleep(POLL_S)
        return status


def wait_for_all(ranks: Sequence[ForkedRank], end: float) -> bool:
    """Wait until all have ended by themselves, or until the time `end`; return whether they did."""
    while any(rank.poll() is None for rank in ranks):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def _ensure_server() -> None:
    """Start the server unless it runs; it finds the tests wherever it is started."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if path is not None:
            os.environ["PYTHONPATH"] = path


def _be_rank(environment: Mapping[str, str], work: Callable[[], object], folder: Path) -> None:
    # The server has done neither for it.
    import torch
    from lightning.pytorch.utilities import rank_zero_only

    # What it has from the server stays; to look through it again and again takes a second.
    gc.freeze()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    torch.set_num_threads(1)
    # Lightning has read it when it was imported, before this process was a rank.
    rank_zero_only.rank = int(environment.get("RANK", 0))
    try:
        work()
    except Exception:  # noqa: BLE001 - it ends here, as a program of its own would
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
