"""Ranks as processes of their own, started as torchrun would start them, on the loopback."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import SystemRandom
from threading import Lock
from types import TracebackType
from typing import Self

from tests.forked_ranks import POLL_S, ForkedRank

ROOT = Path(__file__).parents[1]
ALL_END_WITHIN_S = 60.0


@dataclass(frozen=True)
class Ended:
    """How a rank ended.

    Attributes:
        status: the exit status; negative for the signal that killed it.
        stdout: all that it printed.
        stderr: all that it printed there.
        after_s: when, in seconds since the start of the clock.
    """

    status: int
    stdout: str
    stderr: str
    after_s: float


class RankProcesses:
    """Running ranks; killed at the end of the `with`, if they are still there.

    Args:
        ranks: in the order of their places.
        folder: with a folder of each, named after its place.
    """

    def __init__(
        self, ranks: Sequence[ForkedRank], folder: tempfile.TemporaryDirectory[str]
    ) -> None:
        self._ranks = ranks
        self._folder = folder
        self._began = time.monotonic()
        self._statuses: dict[int, int] = {}
        self._ended_at: dict[int, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for rank in self._ranks:
            rank.kill()
        self._folder.cleanup()

    def stdout(self, rank: int) -> str:
        """What a rank has printed so far."""
        return self._read(rank, "out")

    def stderr(self, rank: int) -> str:
        """What a rank has printed to stderr so far."""
        return self._read(rank, "err")

    def wait_for(self, rank: int, text: str, within_s: float = ALL_END_WITHIN_S) -> None:
        """Wait until a rank has printed a text, and start the clock of `Ended.after_s` anew."""
        end = time.monotonic() + within_s
        while text not in self.stdout(rank):
            ended = self._ranks[rank].poll()
            if ended is not None and text not in self.stdout(rank):
                raise AssertionError(f"rank {rank} ended with {ended}: {self.stderr(rank)}")
            if time.monotonic() > end:
                raise AssertionError(f"rank {rank} did not print {text!r}: {self.stderr(rank)}")
            time.sleep(POLL_S)
        self._began = time.monotonic()

    def signal(self, rank: int, number: signal.Signals) -> None:
        """Send a signal to a rank, and start the clock of `Ended.after_s` anew."""
        self._ranks[rank].signal(number)
        self._began = time.monotonic()

    def ends(
        self, ranks: Sequence[int] | None = None, within_s: float = ALL_END_WITHIN_S
    ) -> list[Ended]:
        """Wait until ranks have ended by themselves.

        Args:
            ranks: which; None for all.
            within_s: how long at most.

        Returns:
            How each of them ended.
        """
        awaited = list(range(len(self._ranks))) if ranks is None else list(ranks)
        end = time.monotonic() + within_s
        while running := [rank for rank in awaited if rank not in self._note_ended()]:
            if time.monotonic() > end:
                said = "\n".join(f"rank {rank}: {self.stderr(rank)}" for rank in awaited)
                raise AssertionError(f"ranks {running} still run after {within_s:g} s\n{said}")
            time.sleep(POLL_S)
        return [
            Ended(
                self._statuses[rank],
                self.stdout(rank),
                self.stderr(rank),
                self._ended_at[rank] - self._began,
            )
            for rank in awaited
        ]

    def _note_ended(self) -> dict[int, float]:
        for place, rank in enumerate(self._ranks):
            status = rank.poll()
            if status is not None and place not in self._ended_at:
                self._statuses[place] = status
                self._ended_at[place] = time.monotonic()
        return self._ended_at

    def _read(self, rank: int, name: str) -> str:
        path = Path(self._folder.name) / str(rank) / name
        return path.read_text() if path.exists() else ""


def start(
    n_ranks: int,
    program: str | Sequence[str],
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    ranks: Sequence[int] | None = None,
) -> RankProcesses:
    """Start the ranks of a world.

    Args:
        n_ranks: in the world.
        program: the text of a Python program, or the arguments of Python: `["-m", name, ...]`
            for a module, `[path, ...]` for a file.
        port: of the store; None for one that is free.
        environment: what the ranks get besides this process's and what torchrun would set.
        ranks: which to start; None for all. A list of them is always one a place, from 0.

    Returns:
        The processes, to be used in a `with`.
    """
    port = free_port() if port is None else port
    folder = tempfile.TemporaryDirectory()
    started = []
    for place, rank in enumerate(range(n_ranks) if ranks is None else ranks):
        own = rank_environment(rank, n_ranks, port) | dict(environment or {})
        begins_in = Path(folder.name) / str(place)
        begins_in.mkdir()
        started.append(ForkedRank(os.environ | own, partial(_run_program, program), begins_in))
    return RankProcesses(started, folder)


def _run_program(program: str | Sequence[str]) -> None:
    """Do what Python does with a program, or with arguments."""
    if isinstance(program, str):
        exec(compile(program, "<rank>", "exec"), {"__name__": "__main__"})
    elif program[0] == "-m":
        sys.argv = list(program[1:])
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(program)
        runpy.run_path(program[0], run_name="__main__")


def rank_environment(rank: int, n_ranks: int, port: int) -> dict[str, str]:
    """Return what torchrun would set for a rank."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(n_ranks),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(n_ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


FIRST_PORT, PORTS_OF_A_WORKER, N_WORKERS = 20_000, 1_500, 8
_GIVEN: set[int] = set()
_TURN = Lock()


def free_port() -> int:
    """Return a port that nothing listens at now, another one at each call.

    Below those that the system gives out by itself, and from a range of its own for each process
    that shares the tests, so that none of them is taken before the ranks come to it.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker % N_WORKERS * PORTS_OF_A_WORKER
    for port in SystemRandom().sample(range(first, first + PORTS_OF_A_WORKER), PORTS_OF_A_WORKER):
        with _TURN:
            if port in _GIVEN:
                continue
            _GIVEN.add(port)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"every port from {first} on is in use")
