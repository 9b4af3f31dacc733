"""Ranks as real processes, started as torchrun would start them, on the loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[1]
ALL_END_WITHIN_S = 60.0
POLL_S = 0.02


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
        processes: in the order of the ranks.
        folder: where each rank writes `<rank>.out` and `<rank>.err`.
    """

    def __init__(
        self, processes: Sequence[subprocess.Popen[bytes]], folder: tempfile.TemporaryDirectory[str]
    ) -> None:
        self._processes = processes
        self._folder = folder
        self._began = time.monotonic()
        self._ended_at: dict[int, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._folder.cleanup()

    def stdout(self, rank: int) -> str:
        """What a rank has printed so far."""
        return (Path(self._folder.name) / f"{rank}.out").read_text()

    def stderr(self, rank: int) -> str:
        """What a rank has printed to stderr so far."""
        return (Path(self._folder.name) / f"{rank}.err").read_text()

    def wait_for(self, rank: int, text: str, within_s: float = ALL_END_WITHIN_S) -> None:
        """Wait until a rank has printed a text, and start the clock of `Ended.after_s` anew."""
        end = time.monotonic() + within_s
        while text not in self.stdout(rank):
            ended = self._processes[rank].poll()
            if ended is not None and text not in self.stdout(rank):
                raise AssertionError(f"rank {rank} ended with {ended}: {self.stderr(rank)}")
            if time.monotonic() > end:
                raise AssertionError(f"rank {rank} did not print {text!r}: {self.stderr(rank)}")
            time.sleep(POLL_S)
        self._began = time.monotonic()

    def signal(self, rank: int, number: signal.Signals) -> None:
        """Send a signal to a rank, and start the clock of `Ended.after_s` anew."""
        self._processes[rank].send_signal(number)
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
        awaited = list(range(len(self._processes))) if ranks is None else list(ranks)
        end = time.monotonic() + within_s
        while running := [rank for rank in awaited if self._processes[rank].poll() is None]:
            self._note_ended()
            if time.monotonic() > end:
                said = "\n".join(f"rank {rank}: {self.stderr(rank)}" for rank in awaited)
                raise AssertionError(f"ranks {running} still run after {within_s:g} s\n{said}")
            time.sleep(POLL_S)
        self._note_ended()
        return [
            Ended(
                self._processes[rank].returncode,
                self.stdout(rank),
                self.stderr(rank),
                self._ended_at[rank] - self._began,
            )
            for rank in awaited
        ]

    def _note_ended(self) -> None:
        for rank, process in enumerate(self._processes):
            if process.poll() is not None:
                self._ended_at.setdefault(rank, time.monotonic())


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
        program: the text of a Python program, or the arguments of Python, such as
            `["-m", "gru_parallel.train", ...]`.
        port: of the store; None for one that is free.
        environment: what the ranks get besides this process's and what torchrun would set.
        ranks: which to start; None for all. A list of them is always one a place, from 0.

    Returns:
        The processes, to be used in a `with`.
    """
    arguments = ["-c", program] if isinstance(program, str) else list(program)
    port = free_port() if port is None else port
    folder = tempfile.TemporaryDirectory()
    processes = []
    for place, rank in enumerate(range(n_ranks) if ranks is None else ranks):
        own = rank_environment(rank, n_ranks, port) | dict(environment or {})
        out = Path(folder.name) / f"{place}.out"
        err = Path(folder.name) / f"{place}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=os.environ | own,
                    cwd=ROOT,
                )
            )
    return RankProcesses(processes, folder)


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
        "PYTHONUNBUFFERED": "1",
    }


def free_port() -> int:
    """Return a port that nothing listens at now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
