"""Checks that all ranks see one folder of the run, into which they write checkpoints together."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from gru_parallel.errors import UsageError

if TYPE_CHECKING:
    # With torch.
    from gru_parallel.ranks import Ranks

WAIT_S = 40.0
"""NFS may remember for 30 s (acdirmin) that the folder was not there before rank 0 made it."""

POLL_S = 0.25


def check_shared(folder: Path, ranks: Ranks) -> None:
    """Check that all ranks, each of which calls this, see what rank 0 writes into a folder.

    Args:
        folder: of the run; where rank 0 cannot write into it, nothing is checked.
        ranks: of the run.

    Raises:
        UsageError: on every rank, if one does not; the message names the first of them.
    """
    name = _write_mark(folder) if ranks.is_first else None
    name = ranks.broadcast(name, "rank 0 to write into the folder of the run")
    if name is None:
        return
    sees = [False]
    for _ in range(round(WAIT_S / POLL_S)):
        sees = ranks.gather(_is_there(folder / name), "all ranks to see the folder of the run")
        if all(sees):
            break
        # A file system does not say when it sees what another machine has written.
        time.sleep(POLL_S)
    hosts = ranks.gather(socket.gethostname(), "the names of all machines")
    if ranks.is_first:
        with suppress(OSError):
            (folder / name).unlink()
    if not all(sees):
        first = sees.index(False)
        raise UsageError(
            f"Rank {first} on {hosts[first]} does not see what rank 0 on {hosts[0]} writes into"
            f" hydra.run.dir={folder}, and ranks write checkpoints together; choose a folder on a"
            " file system that all machines see, under the same path."
        )


def _write_mark(folder: Path) -> str | None:
    """Write a file with a name of its own, about which no machine can have an outdated belief."""
    name = f".seen-by-all-{token_hex(8)}"
    try:
        (folder / name).touch()
    except OSError:
        # Hydra, which writes there next, says what is wrong.
        return None
    return name


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True
