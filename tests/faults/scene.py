"""Scene: where a trial takes place, with a disk and a network of its own where it needs them."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

CLONE_NEWNET = 0x40000000
DISK_BYTES = 4 << 20
INSIDE = "GRU_PARALLEL_FAULTS_INSIDE"

_NUMBERS = itertools.count(1)


def enter_namespaces(arguments: Sequence[str]) -> str:
    """Start this program again in namespaces of its own, where it may mount and cut links.

    Returns:
        Why that does not work here; empty inside.
    """
    if os.environ.get(INSIDE):
        run("ip", "link", "set", "lo", "up")
        return ""
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "--net"]
    for program in ("unshare", "ip", "mount"):
        if shutil.which(program) is None:
            return f"there is no program {program} here"
    tried = subprocess.run(
        [*unshare, "true"], capture_output=True, text=True, timeout=30, check=False
    )
    if tried.returncode:
        return f"this system gives no namespaces: {tried.stderr.strip()}"
    os.environ[INSIDE] = "1"
    os.execvp("unshare", [*unshare, sys.executable, "-m", *arguments])


def enter_network(namespace: str) -> None:
    """Have this process enter a network namespace, if one is named."""
    if not namespace:
        return
    with open(namespace) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def has_namespaces() -> bool:
    return bool(os.environ.get(INSIDE))


def run(*command: str) -> None:
    """Run a command of the system; an error names what it said."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if ended.returncode:
        raise OSError(f"{' '.join(command)}: {ended.stderr.strip()}")


class Scene:
    """Where a trial takes place.

    Args:
        folder: for all that it writes.

    Attributes:
        run_folder: of the run that is harmed.
        witnessed: folder of what the witness writes.
        link: of the ranks; None where they meet on the loopback.
        is_on_disk: whether the folder of the run is on a disk of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.disk = folder / "disk"
        self.run_folder = self.disk / "run"
        self.witnessed = folder / "witnessed"
        self.link: Link | None = None
        for each in (self.disk, self.witnessed):
            each.mkdir(parents=True)

    def new_folder(self) -> Path:
        """Make a folder for a process to start in, and print into."""
        folder = self._folder / f"process{next(_NUMBERS)}"
        folder.mkdir()
        return folder

    def environment_of(self, rank: int) -> dict[str, str]:
        """Variables of a rank."""
        return {} if self.link is None else self.link.environment_of(rank)

    def network_of(self, rank: int) -> str:
        """The network namespace that a rank has to enter; empty for that of this process."""
        return "" if self.link is None or rank == 0 else self.link.far_side


@contextmanager
def plain(folder: Path) -> Iterator[Scene]:
    """A scene with nothing of its own."""
    yield Scene(folder)


@contextmanager
def with_disk(folder: Path) -> Iterator[Scene]:
    """A scene with a small disk of its own."""
    scene = Scene(folder)
    run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(scene.disk))
    try:
        yield scene
    finally:
        # Lazily: a process that was killed may not be gone yet.
        run("umount", "--lazy", str(scene.disk))


@contextmanager
def with_link(folder: Path) -> Iterator[Scene]:
    """A scene whose second rank is on the far side of a link."""
    scene = Scene(folder)
    scene.link = Link(next(_NUMBERS))
    try:
        yield scene
    finally:
        scene.link.close()


class Link:
    """A link between this network namespace and another.

    Args:
        number: that no other link has.
    """

    def __init__(self, number: int) -> None:
        self._near, self._far = f"near{number}", f"far{number}"
        self._address = f"10.77.{number % 250}"
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "3600"])
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(self.far_side) == own:
            time.sleep(0.005)
        pid = str(self._holder.pid)
        run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far)
        run("ip", "link", "set", self._far, "netns", pid)
        run("ip", "addr", "add", f"{self._address}.1/24", "dev", self._near)
        run("ip", "link", "set", self._near, "up")
        self._run_far("ip", "addr", "add", f"{self._address}.2/24", "dev", self._far)
        self.set_far("up")
        self._run_far("ip", "link", "set", "lo", "up")

    @property
    def far_side(self) -> str:
        """The namespace on the far side."""
        return f"/proc/{self._holder.pid}/ns/net"

    def environment_of(self, rank: int) -> dict[str, str]:
        name = self._near if rank == 0 else self._far
        return {"MASTER_ADDR": f"{self._address}.1", "GLOO_SOCKET_IFNAME": name}

    def set_far(self, state: str) -> None:
        """Set the far end up or down; the near one has no carrier while that is down."""
        self._run_far("ip", "link", "set", self._far, state)

    def set_near(self, state: str) -> None:
        run("ip", "link", "set", self._near, state)

    def close(self) -> None:
        with suppress(OSError):
            run("ip", "link", "del", self._near)
        self._holder.kill()
        self._holder.wait()

    def _run_far(self, *command: str) -> None:
        run("nsenter", f"--net={self.far_side}", *command)
