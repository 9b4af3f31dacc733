"""Rendezvous: how the ranks of a run find each other at its store."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from threading import Thread
from typing import NamedTuple
from uuid import uuid4

from torch._C._distributed_c10d import Store, TCPStore

from gru_parallel.errors import UsageError
from gru_parallel.ranks.launch import Launch
from gru_parallel.ranks.report import RankError

LONGEST_WAIT_S = 300.0
"""Machines start at different times, but no rank waits longer than this for the others."""

POLL_S = 0.05
HOST_STAYS_S = 1.0
CONNECT_MARGIN_S = 1.0
"""By this much torch's timeout is shorter, because its error says more."""


def open_store(launch: Launch, timeout_s: float) -> TCPStore:
    """Open the store of a run; rank 0 hosts it, unless the launcher does.

    Raises:
        UsageError: rank 0 cannot host it at this address.
        RankError: no store answers at this address within `timeout_s`.
    """
    if not launch.hosts_store:
        return store_client(launch, timeout_s)
    try:
        return _store(launch, patience_s(timeout_s), is_host=True)
    except RuntimeError as error:
        raise UsageError(
            f"Rank 0 must be able to host the store of the run at {launch.address}, but cannot "
            f"({_first_line(error)}): another process, or another run, may have the port; choose "
            "one that is free with torchrun --master-port or MASTER_PORT, and an address of rank "
            "0's own machine with --master-addr or MASTER_ADDR."
        ) from error


def store_client(launch: Launch, timeout_s: float) -> TCPStore:
    """Connect to a store that is hosted already, here or elsewhere.

    Raises:
        RankError: no store answers.
    """
    patience = patience_s(timeout_s)
    try:
        return _connect(launch, patience)
    except RuntimeError as error:
        host = "the launcher" if launch.uses_agent_store else "rank 0"
        raise RankError(
            f"waited for {host} at {launch.address} and got no answer within {patience:g} s "
            f"({_first_line(error)}); {_remedy(launch, timeout_s)}, and give all of them the same "
            "MASTER_ADDR and MASTER_PORT."
        ) from error


def _connect(launch: Launch, patience: float) -> TCPStore:
    """Connect in a thread: torch would wait forever for a listener that is not a store."""
    connecting: Future[TCPStore] = Future()

    def connect() -> None:
        try:
            connecting.set_result(_store(launch, patience, is_host=False))
        except RuntimeError as error:
            connecting.set_exception(error)

    Thread(target=connect, name="gru_parallel connect", daemon=True).start()
    try:
        return connecting.result(patience + CONNECT_MARGIN_S)
    except TimeoutError:
        raise RuntimeError("no store answers there") from None


def _store(launch: Launch, patience: float, *, is_host: bool) -> TCPStore:
    return TCPStore(
        launch.master_addr,
        launch.master_port,
        is_master=is_host,
        wait_for_workers=False,
        timeout=timedelta(seconds=patience),
    )


@dataclass(frozen=True)
class Rendezvous:
    """All ranks of a run, connected to its store.

    Attributes:
        name: unique to this rendezvous, and the same on all ranks.
        n_before: number of earlier ones at this store: a launcher that hosts it restarts ranks.
    """

    name: str
    n_before: int


def meet(store: Store, launch: Launch, timeout_s: float) -> Rendezvous:
    """Wait until every rank has registered at the store of the run, for `timeout_s` at most.

    A launcher's store outlives the ranks, and the launchers of several machines count their
    restarts separately. So every process registers with a new token. Rank 0 invites the processes
    that it finds, and the rendezvous is complete once all that were invited have accepted. A
    process that has ended accepts nothing, so rank 0 invites anew when another has replaced it.

    Raises:
        UsageError: another process has registered as this rank.
        RankError: some have not registered in time, or the store is gone.
    """
    patience = patience_s(timeout_s)
    # The host stays for longer, so that the others read their last before the store is gone.
    end = time.monotonic() + patience + HOST_STAYS_S * launch.hosts_store
    participant = _Participant(store, launch)
    try:
        participant.register()
        while (rendezvous := participant.poll()) is None and time.monotonic() < end:
            time.sleep(POLL_S)
        if rendezvous is not None:
            return rendezvous
        missing = participant.missing()
    except RuntimeError as error:
        raise RankError(
            f"lost the store of the run at {launch.address} before all {launch.world_size} ranks "
            f"had registered there ({_first_line(error)})"
        ) from error
    where = f"at {launch.address} within {patience:g} s"
    n_there = launch.world_size - len(missing)
    who = (
        f"{n_there} of {launch.world_size} ranks have registered {where}, without rank "
        f"{', '.join(map(str, missing))}"
        if missing
        else f"rank 0 has not registered {where}"
    )
    raise RankError(f"{who}; {_remedy(launch, timeout_s)}.")


class _Invitation(NamedTuple):
    """Written by rank 0: the name of a rendezvous, and the tokens of those who are invited."""

    name: str
    tokens: list[str]


class _Participant:
    """A rank at the store, until all others are there."""

    def __init__(self, store: Store, launch: Launch) -> None:
        self._store = store
        self._launch = launch
        self._token = uuid4().hex
        self._ranks = range(launch.world_size)
        self._invitations: list[_Invitation] = []
        self._accepted: _Invitation | None = None

    def register(self) -> None:
        """Register this process; refuse to be another one of the same rank."""
        key, launch = _registered(self._launch.rank), self._launch
        if launch.uses_agent_store:
            # A process that registered before has ended: launchers restart ranks only after that.
            self._store.set(key, self._token)
        elif self._store.compare_set(key, "", self._token).decode() != self._token:
            raise UsageError(
                f"Each rank must be one process, and another has registered at {launch.address} as "
                f"rank {launch.rank}; start each rank once, and give every run another MASTER_PORT."
            )

    def poll(self) -> Rendezvous | None:
        """Invite or accept where this rank can; return the rendezvous once it is complete."""
        if self._launch.rank == 0:
            self._invite()
        self._accept()
        if self._accepted is None:
            return None
        complete = f"complete/{self._accepted.name}"
        if self._launch.rank == 0 and not self._undecided(self._accepted):
            self._store.set(complete, str(self._store.add("n_rendezvous", 1) - 1))
        if not self._store.check([complete]):
            return None
        return Rendezvous(self._accepted.name, int(self._store.get(complete)))

    def missing(self) -> list[int]:
        """Return the ranks that are not there, as far as this one can tell.

        Where rank 0 has not invited this one, some that registered may have ended: then none.
        """
        missing = [rank for rank in self._ranks if not self._store.check([_registered(rank)])]
        if missing or self._accepted is None:
            return missing
        return self._undecided(self._accepted)

    def _invite(self) -> None:
        keys = [_registered(rank) for rank in self._ranks]
        if not self._store.check(keys):
            return
        tokens = [token.decode() for token in self._store.multi_get(keys)]
        if self._invitations and self._invitations[-1].tokens == tokens:
            return
        invitation = _Invitation(f"{self._token}.{len(self._invitations)}", tokens)
        self._invitations.append(invitation)
        self._store.set("invitation", json.dumps(invitation))

    def _accept(self) -> None:
        if not self._store.check(["invitation"]):
            return
        invitation = _Invitation(*json.loads(self._store.get("invitation")))
        rank = self._launch.rank
        if invitation != self._accepted and invitation.tokens[rank] == self._token:
            self._store.set(_accepted(invitation, rank), "yes")
            self._accepted = invitation

    def _undecided(self, invitation: _Invitation) -> list[int]:
        return [r for r in self._ranks if not self._store.check([_accepted(invitation, r)])]


def patience_s(timeout_s: float) -> float:
    """How long the ranks wait for each other at the start, in seconds."""
    return min(timeout_s, LONGEST_WAIT_S)


def _remedy(launch: Launch, timeout_s: float) -> str:
    remedies = [f"start all {launch.world_size} ranks"]
    if launch.uses_agent_store:
        remedies.append("or, if a torchrun itself has ended, restart all torchruns")
    if timeout_s < LONGEST_WAIT_S:
        remedies.append("or give them more time with engine.timeout_s")
    return ", ".join(remedies)


def _registered(rank: int) -> str:
    return f"registered/{rank}"


def _accepted(invitation: _Invitation, rank: int) -> str:
    return f"accepted/{invitation.name}/{rank}"


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
