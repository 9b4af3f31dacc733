"""Starts of runs: as processes that are forked, as programs, and as programs under a supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from gru_parallel.app import commands, train
from tests.cli.composing import compose_once, load_configs_once, write_no_configs
from tests.cli.in_process import NO_PICTURE
from tests.faults.scene import Scene, enter_network
from tests.forked_ranks import ROOT, ForkedRank
from tests.rank_processes import free_port, rank_environment

TAG = "GRU_PARALLEL_FAULTS"
N_RANKS = 2
POLL_S = 0.005


class Started(Protocol):
    """A run, or a supervisor and what it has started. Its processes go by names: rank 0, say."""

    def running(self) -> dict[str, int]:
        """The number of each process that has not ended, by its name."""

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process, if it is still there."""

    def said(self) -> str:
        """All that was printed as errors."""

    def status(self) -> int:
        """The exit status of the whole, once it has ended; negative for a signal."""

    def kill(self) -> None:
        """Kill what is left."""


Start = Callable[[Scene, Sequence[str]], Started]
"""Starts a run in a scene, with the arguments of the command."""


class Forked:
    """A run whose processes are forked from one that has imported all that it needs."""

    def __init__(self, processes: dict[str, ForkedRank], folders: Sequence[Path]) -> None:
        self._processes = processes
        self._folders = folders

    def running(self) -> dict[str, int]:
        return {name: each.pid for name, each in self._processes.items() if each.poll() is None}

    def signal(self, name: str, number: signal.Signals) -> None:
        if self._processes[name].poll() is None:
            self._processes[name].signal(number)

    def said(self) -> str:
        files = (folder / "err" for folder in self._folders)
        return "".join(file.read_text() for file in files if file.is_file())

    def status(self) -> int:
        statuses = [process.poll() for process in self._processes.values()]
        return next((status for status in statuses if status), 0)

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()


def fork(scene: Scene, arguments: Sequence[str]) -> Forked:
    """Start a run in one process."""
    folder = scene.new_folder()
    process = ForkedRank(os.environ, partial(_run_command, "", arguments), folder)
    return Forked({"run": process}, [folder])


def fork_ranks(scene: Scene, arguments: Sequence[str]) -> Forked:
    """Start a run of several ranks."""
    port, processes, folders = free_port(), {}, []
    for rank in range(N_RANKS):
        folders.append(scene.new_folder())
        own = rank_environment(rank, N_RANKS, port) | scene.environment_of(rank)
        work = partial(_run_command, scene.network_of(rank), [*arguments, "engine=processes"])
        processes[f"rank {rank}"] = ForkedRank(os.environ | own, work, folders[-1])
    return Forked(processes, folders)


def _run_command(network: str, arguments: Sequence[str]) -> None:
    enter_network(network)
    with pytest.MonkeyPatch.context() as patch:
        load_configs_once(patch)
        compose_once(patch)
        write_no_configs(patch)
        patch.setattr(train, "draw_step", lambda _, path: path.write_bytes(NO_PICTURE))
        sys.exit(commands.run("train", arguments))


class Programs:
    """A command, and all that it starts of gru_parallel.train, found by a mark in its environment.

    Args:
        scene: of the run.
        command: what is started.
        name: of its process.
        child: the name of a process of gru_parallel.train that is no rank.
    """

    def __init__(self, scene: Scene, command: Sequence[str], name: str, child: str = "run") -> None:
        folder = scene.new_folder()
        self._mark = f"{TAG}={folder}".encode()
        self._err = folder / "err"
        self._name, self._child = name, child
        with self._err.open("w") as err:
            self._command = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", TAG: str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        pid = self.running().get(name)
        if pid is not None:
            os.kill(pid, number)

    def said(self) -> str:
        return self._err.read_text()

    def status(self) -> int:
        return self._command.wait()

    def kill(self) -> None:
        # A supervisor first: it would start another.
        self._command.kill()
        self._command.wait()
        while processes := self.running():
            for pid in processes.values():
                os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)

    def running(self) -> dict[str, int]:
        found = {self._name: self._command.pid} if self._command.poll() is None else {}
        for folder in Path("/proc").glob("[0-9]*"):
            pid = int(folder.name)
            environment = _read(folder / "environ").split(b"\0")
            if pid == self._command.pid or self._mark not in environment:
                continue
            rank = next((e for e in environment if e.startswith(b"RANK=")), None)
            if rank is not None:
                found[f"rank {rank.removeprefix(b'RANK=').decode()}"] = pid
            elif b"gru_parallel.train" in _read(folder / "cmdline"):
                found[self._child] = pid
        return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        # It has ended.
        return b""


PROGRAM = (sys.executable, "-m", "gru_parallel.train")
RESTART = (str(ROOT / "scripts" / "restart.sh"),)


def start_restarted(scene: Scene, arguments: Sequence[str]) -> Programs:
    """Start a program that scripts/restart.sh starts again."""
    return Programs(scene, [*RESTART, *PROGRAM, *arguments], "supervisor")


def start_torchrun(scene: Scene, arguments: Sequence[str]) -> Programs:
    """Start ranks that torchrun starts again."""
    return Programs(scene, _torchrun(arguments, "--max-restarts", "3"), "launcher")


def start_restarted_torchrun(scene: Scene, arguments: Sequence[str]) -> Programs:
    """Start a torchrun that scripts/restart.sh starts again."""
    return Programs(scene, [*RESTART, *_torchrun(arguments)], "supervisor", "launcher")


def _torchrun(arguments: Sequence[str], *flags: str) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", *flags]
    launcher += ["--nproc-per-node", str(N_RANKS)]
    return [*launcher, "-m", "gru_parallel.train", *arguments, "engine=processes"]
