"""Keeps two runs out of one folder: the system takes the lock back when a process ends."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gru_parallel.errors import EndOfRunError
from gru_parallel.run_folder import RunFolder

if TYPE_CHECKING:
    # With torch.
    from gru_parallel.ranks import Ranks

WAIT_S = 30.0
"""The ranks of a launcher that was killed end by themselves, within 8 s as measured."""

POLL_S = 0.25

_TAKEN = (errno.EAGAIN, errno.EACCES)


class FolderInUseError(EndOfRunError):
    """Another run is at work in the folder; a later attempt may find it free."""


class RunLock:
    """A lock on the folder of a run, which all ranks of the run share; a context manager.

    It is a record lock of POSIX: network file systems have them, too, and processes that load data
    do not inherit them. Where a file system has none, or cannot be written to, nothing is locked.
    """

    def __init__(self) -> None:
        self._file: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def take(self, folder: Path, *, makes: bool) -> str | None:
        """Take the folder, unless another run holds it.

        Args:
            folder: of the run.
            makes: whether the file of the lock is made where there is none; if not, and no run has
                been there, nothing is locked.

        Returns:
            Who holds it; None if no other run does.
        """
        return self._hold(folder, makes=makes, is_first=True)

    def share(self, folder: Path, *, makes: bool) -> None:
        """Hold the folder together with the rank that has taken it."""
        self._hold(folder, makes=makes, is_first=False)

    def _hold(self, folder: Path, *, makes: bool, is_first: bool) -> str | None:
        if self._file is not None or os.name == "nt":
            return None
        # Windows has no such module.
        import fcntl

        if makes:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(RunFolder(folder).lock, os.O_RDWR | (os.O_CREAT if makes else 0), 0o666)
        except OSError:
            return None
        try:
            if is_first:
                # Of another run, no rank is left that shares it.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.truncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(file, 200, 0).decode(errors="replace")
            os.close(file)
            return holder or "another process" if error.errno in _TAKEN else None
        self._file = file
        return None


def wait_for_folder(lock: RunLock, folder: Path, ranks: Ranks | None = None) -> None:
    """Take the folder of a run in which one has been; wait a while for that one to end.

    Args:
        lock: to hold it by.
        folder: of the run.
        ranks: of the run, which all call this together.

    Raises:
        FolderInUseError: the other run goes on; on all ranks.
    """
    n_tries = round(WAIT_S / POLL_S)
    for number in range(n_tries):
        holder = _take(lock, folder, ranks, makes=False)
        if holder is None:
            return
        if number == 0 and (ranks is None or ranks.is_first):
            print(f"Waits up to {WAIT_S:g} s for {holder}, which is at work in {folder}.")
        # The system waits for a lock, but not for so long only.
        time.sleep(POLL_S)
    raise FolderInUseError(
        f"hydra.run.dir={folder} is in use by another run, {holder}; end that one, or choose"
        " another folder."
    )


def take_folder(lock: RunLock, folder: Path, ranks: Ranks | None = None) -> None:
    """Take the folder of a run that is about to begin, if it is not held yet.

    Args:
        lock: to hold it by.
        folder: of the run.
        ranks: of the run, which all call this together.

    Raises:
        FolderInUseError: another run has just begun there; on all ranks.
    """
    holder = _take(lock, folder, ranks, makes=True)
    if holder is not None:
        raise FolderInUseError(
            f"hydra.run.dir={folder} is in use by another run, {holder}, which has just begun;"
            " choose another folder."
        )


def _take(lock: RunLock, folder: Path, ranks: Ranks | None, *, makes: bool) -> str | None:
    if ranks is None:
        return lock.take(folder, makes=makes)
    holder = lock.take(folder, makes=makes) if ranks.is_first else None
    holder = ranks.broadcast(holder, "rank 0 to take the folder of the run")
    if holder is None and not ranks.is_first:
        lock.share(folder, makes=makes)
    return holder
