"""How the ranks of a run find each other: the store, and who has come to it."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import timedelta
from threading import Thread
from uuid import uuid4

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
            f"({_first_line(error)}); {_remedy(launch, timeout_s)}, and give all of them the same "
            "MASTER_ADDR and MASTER_PORT."
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


@dataclass(frozen=True)
class Meeting:
    """All ranks of a run, together at its store.

    Attributes:
        name: of this meeting and no other, the same on all ranks.
        n_before: meetings at this store before: a launcher that hosts it starts ranks again.
    """

    name: str
    n_before: int


def meet(store: Store, launch: Launch, timeout_s: float) -> Meeting:
    """Wait until every rank has come to the store.

    A launcher's store outlives the ranks, and the launchers of several machines count their
    restarts each for itself. So every process comes with a token of its own; rank 0 calls those
    that it finds, and the meeting begins once all that were called have answered. Nobody answers
    for a rank that has ended, so rank 0 calls again when another has come in its place.

    Args:
        store: of the run.
        launch: of this process.
        timeout_s: how long to wait for the others.

    Raises:
        UsageError: another process has come as this rank.
        RankError: some have not come in time, or the store is gone.
    """
    patience = patience_s(timeout_s)
    # The others have the last word before the store goes.
    end = time.monotonic() + patience + HOST_STAYS_S * launch.hosts_store
    attendant = _Attendant(store, launch)
    try:
        is_only = attendant.come()
        meeting = attendant.look() if is_only else None
        while is_only and meeting is None and time.monotonic() < end:
            time.sleep(POLL_S)
            meeting = attendant.look()
        missing = attendant.missing() if is_only and meeting is None else []
    except RuntimeError as error:
        raise RankError(
            f"lost the store of the run at {launch.address} before all "
            f"{launch.world_size} ranks had come to it ({_first_line(error)})"
        ) from error
    if not is_only:
        raise UsageError(
            f"Each rank must be one process, and another has come to {launch.address} as rank "
            f"{launch.rank} before; start each rank once, and give every run a MASTER_PORT of its "
            "own."
        )
    if meeting is None:
        who = (
            f"{launch.world_size - len(missing)} of {launch.world_size} ranks have come to "
            f"{launch.address} within {patience:g} s, without rank {', '.join(map(str, missing))}"
            if missing
            else f"rank 0 has not come to {launch.address} within {patience:g} s"
        )
        raise RankError(f"{who}; {_remedy(launch, timeout_s)}.")
    return meeting


@dataclass(frozen=True)
class _Call:
    """What rank 0 calls out: the name of a meeting, and the tokens of those that it is for."""

    name: str
    tokens: list[str]


class _Attendant:
    """A rank at the store, until all others are there."""

    def __init__(self, store: Store, launch: Launch) -> None:
        self._store = store
        self._launch = launch
        self._token = uuid4().hex
        self._ranks = range(launch.world_size)
        self._called: list[_Call] = []
        self._answered: _Call | None = None

    def come(self) -> bool:
        """Say that this rank is there; return whether it alone has come as this rank."""
        key = _came(self._launch.rank)
        if self._launch.uses_agent_store:
            # One that came before has ended: the launcher starts ranks again only after that.
            self._store.set(key, self._token)
            return True
        found: bytes = self._store.compare_set(key, "", self._token)
        return found.decode() == self._token

    def look(self) -> Meeting | None:
        """Do what there is to be done; return the meeting once it has begun."""
        if self._launch.rank == 0:
            self._call()
        self._answer()
        if self._answered is None:
            return None
        begun = f"begun/{self._answered.name}"
        if self._launch.rank == 0 and not self._silent(self._answered):
            self._store.set(begun, str(self._store.add("n_meetings", 1) - 1))
        if not self._store.check([begun]):
            return None
        return Meeting(self._answered.name, int(self._store.get(begun)))

    def missing(self) -> list[int]:
        """Return the ranks that have not come, as far as this one can see.

        Where rank 0 has not called, some of those that seem to be there may have ended: then none.
        """
        missing = [rank for rank in self._ranks if not self._store.check([_came(rank)])]
        if missing or self._answered is None:
            return missing
        return self._silent(self._answered)

    def _call(self) -> None:
        keys = [_came(rank) for rank in self._ranks]
        if not self._store.check(keys):
            return
        tokens = [token.decode() for token in self._store.multi_get(keys)]
        if self._called and self._called[-1].tokens == tokens:
            return
        call = _Call(f"{self._token}.{len(self._called)}", tokens)
        self._called.append(call)
        self._store.set("call", json.dumps(asdict(call)))

    def _answer(self) -> None:
        if not self._store.check(["call"]):
            return
        call = _Call(**json.loads(self._store.get("call")))
        if call != self._answered and call.tokens[self._launch.rank] == self._token:
            self._store.set(_answer(call, self._launch.rank), "here")
            self._answered = call

    def _silent(self, call: _Call) -> list[int]:
        return [rank for rank in self._ranks if not self._store.check([_answer(call, rank)])]


def patience_s(timeout_s: float) -> float:
    """How long the ranks wait for each other at the start, in seconds."""
    return min(timeout_s, LONGEST_MEETING_S)


def _remedy(launch: Launch, timeout_s: float) -> str:
    remedies = [f"start all {launch.world_size} ranks"]
    if launch.uses_agent_store:
        remedies.append("or, where a torchrun itself has ended, all torchruns anew")
    if timeout_s < LONGEST_MEETING_S:
        remedies.append("or give them more time with engine.timeout_s")
    return ", ".join(remedies)


def _came(rank: int) -> str:
    return f"come/{rank}"


def _answer(call: _Call, rank: int) -> str:
    return f"answer/{call.name}/{rank}"


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
