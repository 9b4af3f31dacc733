"""How the ranks of a run find each other: the store, and who has come to it."""

from __future__ import annotations

import time
from concurrent.futures import Future
from datetime import timedelta
from threading import Thread

from torch._C._distributed_c10d import Store, TCPStore

from gru_parallel.errors import UsageError
from gru_parallel.ranks.launch import Launch
from gru_parallel.ranks.rank_error import RankError

LONGEST_MEETING_S = 300.0
"""Machines start at different times, but nobody waits longer than this for one that never does."""

POLL_S = 0.05
HOST_STAYS_S = 1.0
CONNECT_MARGIN_S = 1.0
"""By which torch's own time, which tells more, is the shorter one."""


def open_store(launch: Launch, timeout_s: float) -> TCPStore:
    """Open the store of a run; rank 0 hosts it, unless the launcher does.

    Args:
        launch: of this process.
        timeout_s: how long to wait for the host.

    Returns:
        The store.

    Raises:
        UsageError: rank 0 cannot host it at this address.
        RankError: nobody answers at this address.
    """
    if not launch.hosts_store:
        return store_client(launch, timeout_s)
    try:
        return TCPStore(
            launch.master_addr,
            launch.master_port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=patience_s(timeout_s)),
        )
    except RuntimeError as error:
        raise UsageError(
            f"Rank 0 must be able to host the store of the run at {launch.address}, and cannot "
            f"({_first_line(error)}): another process, or another run, may have the port; choose "
            "one that is free with torchrun --master-port or MASTER_PORT, and an address of rank "
            "0's own machine with --master-addr or MASTER_ADDR."
        ) from error


def store_client(launch: Launch, timeout_s: float) -> TCPStore:
    """Connect to the store that another process hosts, or this one.

    Raises:
        RankError: nobody answers.
    """
    patience = patience_s(timeout_s)
    try:
        return _connect(launch, patience)
    except RuntimeError as error:
        host = "the launcher" if launch.uses_agent_store else "rank 0"
        raise RankError(
            f"waited for {host} at {launch.address}, and nobody answered within {patience:g} s "
            f"({_first_line(error)}); start all {launch.world_size} ranks, and give all of them "
            f"the same MASTER_ADDR and MASTER_PORT{_or_more_time(timeout_s)}."
        ) from error


def _connect(launch: Launch, patience: float) -> TCPStore:
    """Connect in a thread: where no store listens but something else, torch would wait forever."""
    connecting: Future[TCPStore] = Future()

    def connect() -> None:
        try:
            store = TCPStore(
                launch.master_addr,
                launch.master_port,
                is_master=False,
                wait_for_workers=False,
                timeout=timedelta(seconds=patience),
            )
            connecting.set_result(store)
        except RuntimeError as error:
            connecting.set_exception(error)

    Thread(target=connect, name="gru_parallel connect", daemon=True).start()
    try:
        return connecting.result(patience + CONNECT_MARGIN_S)
    except TimeoutError:
        raise RuntimeError("no store answers there") from None


def wait_for_all(store: Store, launch: Launch, timeout_s: float) -> None:
    """Wait until every rank has come to the store.

    Raises:
        UsageError: another process has come as this rank.
        RankError: some have not come in time, or the store is gone.
    """
    patience = patience_s(timeout_s)
    # The others have the last word before the store goes.
    end = time.monotonic() + patience + HOST_STAYS_S * launch.hosts_store
    try:
        n_came = store.add(_came(launch.rank), 1)
        missing = list(range(launch.world_size)) if n_came == 1 else []
        while missing := [rank for rank in missing if not store.check([_came(rank)])]:
            if time.monotonic() > end:
                break
            time.sleep(POLL_S)
    except RuntimeError as error:
        raise RankError(
            f"lost the store of the run at {launch.address} before all "
            f"{launch.world_size} ranks had come to it ({_first_line(error)})"
        ) from error
    if n_came > 1:
        raise UsageError(
            f"Each rank must be one process, and another has come to {launch.address} as rank "
            f"{launch.rank} before; start each rank once, and give every run a MASTER_PORT of its "
            "own."
        )
    if missing:
        raise RankError(
            f"{launch.world_size - len(missing)} of {launch.world_size} ranks have come to "
            f"{launch.address} within {patience:g} s, without rank "
            f"{', '.join(map(str, missing))}; start all of them{_or_more_time(timeout_s)}."
        )


def patience_s(timeout_s: float) -> float:
    """How long the ranks wait for each other at the start, in seconds."""
    return min(timeout_s, LONGEST_MEETING_S)


def _or_more_time(timeout_s: float) -> str:
    is_short = timeout_s < LONGEST_MEETING_S
    return ", or give them more time with engine.timeout_s" if is_short else ""


def _came(rank: int) -> str:
    return f"come/{rank}"


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
