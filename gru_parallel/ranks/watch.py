"""Watch: the ranks watch over each other, and all of them end when one does.

Three threads a rank. One talks with the store: it publishes what this rank does, reads what the
others do, and looks for a report. One stands in the ring. The third needs neither, and sees to it
that this process ends: it wakes whatever waits, and after a while it loses patience.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import torch.distributed as dist
from torch._C._distributed_c10d import Store

from gru_parallel.ranks.break_off import break_off
from gru_parallel.ranks.launch import Launch
from gru_parallel.ranks.report import Doing, Report
from gru_parallel.ranks.ring import Ring

POLL_S = 0.3
BEAT_S = 1.0
SILENT_AFTER_S = 2.5
"""A rank whose beats have not grown for so long does not run."""
GUARD_S = 5.0
"""How long a process has to end by itself once another rank has failed."""
HAND_IN_S = 2.0
LINGER_S = 3.0


class State(NamedTuple):
    """What this rank does: its note, and since when it waits for others, if it does."""

    what: str
    waits_since: float | None = None

    def __str__(self) -> str:
        return str(Doing(self.what, self.waits_since is not None))


class Watch:
    """Watches over the other ranks, and lets them watch over this one.

    Args:
        launch: of this process.
        store: a client that nothing else uses: a get that blocks in another thread would hold it.
        timeout_s: how long this rank may wait for another.

    Attributes:
        state: what this rank does; replaced by whoever runs it.
        known: set once a rank of the run has failed.
    """

    def __init__(self, launch: Launch, store: Store, timeout_s: float) -> None:
        self.state = State("it started")
        self.known = threading.Event()
        self._launch = launch
        self._others = [rank for rank in range(launch.world_size) if rank != launch.rank]
        self._store = store
        self._timeout_s = timeout_s
        self._groups: list[dist.ProcessGroup] = []
        self._ring: Ring | None = None
        self._report: Report | None = None
        self._to_hand_in: Callable[[], Report] | None = None
        self._failed_itself = False
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._adopting = threading.Lock()
        self._polls_missed = 0
        self._sight = Sight()
        self._beat = Beat()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to watch; a rank alone has nobody to watch over."""
        if not self._others:
            return
        for work, name in ((self._talk, "watch"), (self._guard, "guard")):
            thread = threading.Thread(target=work, name=f"gru_parallel {name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stand_in_ring(self, group: dist.ProcessGroup) -> None:
        """Watch over the next rank's process, too.

        Args:
            group: a Gloo group over all ranks, for the ring alone.
        """
        if self._others:
            self._ring = Ring(group, self._lose)

    def remember(self, group: dist.ProcessGroup) -> None:
        """Break this group off when a rank fails."""
        self._groups.append(group)
        if self.known.is_set():
            break_off(group)

    def fail(self, error: BaseException) -> None:
        """Tell the others that this rank failed, unless another one did before."""
        self._failed_itself = not self.known.is_set()
        doing = Doing(self.state.what, self.state.waits_since is not None)
        self.hand_in(lambda: Report.failed(self._launch.rank, doing, error))

    def hand_in(self, make: Callable[[], Report]) -> None:
        """Put a report into the store, unless there is one; returns when one is known.

        Args:
            make: the report, made in the thread that talks with the store.
        """
        if self.known.is_set():
            return
        self._to_hand_in = make
        self._wake.set()
        if not self._others or not self.known.wait(HAND_IN_S):
            # The store does not answer; the others will notice that by themselves.
            self._adopt(make())

    def message(self) -> str:
        """Say what became of which rank, and what this one did meanwhile."""
        assert self._report is not None
        waits = self.state.waits_since is not None
        own = f"was {self.state}" if waits else f"was busy: {self.state}"
        return f"{self._report.happened}; rank {self._launch.rank} {own}"

    def stop(self) -> None:
        """Watch no longer, after a failure; all threads but the guard end."""
        for group in self._groups:
            break_off(group)
        self._end_threads()

    def say_goodbye(self) -> None:
        """Watch no longer, after an orderly end."""
        if self._ring is not None:
            self._ring.say_goodbye()
        self._closed.set()
        self._end_threads()

    def _end_threads(self) -> None:
        if not self._others:
            return
        talk = self._threads[0]
        self._beat.ends = True
        self._wake.set()
        talk.join(HAND_IN_S)
        if self._ring is not None:
            self._ring.stop()
        if self._launch.hosts_store and not talk.is_alive():
            self._linger()

    def _linger(self) -> None:
        """Keep the store up until the others have read it for the last time."""
        end = time.monotonic() + LINGER_S
        while self._store.add("done", 0) < len(self._others) and time.monotonic() < end:
            time.sleep(POLL_S / 10)

    def _adopt(self, report: Report) -> None:
        with self._adopting:
            if self._report is None:
                self._report = report
                self.known.set()

    def _lose(self, rank: int) -> None:
        self.hand_in(lambda: Report.ended(rank, self._last_seen(rank)))

    # The thread that talks with the store

    def _talk(self) -> None:
        try:
            while not self._beat.ends and not self.known.is_set():
                self._poll()
                self._polls_missed = 0
                self._wake.wait(POLL_S)
                self._wake.clear()
            if not self._launch.hosts_store:
                self._store.add("done", 1)
        except RuntimeError:
            if not self._beat.ends:
                self._adopt(self._without_store("ended without a word"))

    def _poll(self) -> None:
        if self._to_hand_in is not None:
            text = self._store.compare_set("report", "", self._to_hand_in().to_json())
            self._adopt(Report.from_json(text))
        elif self._store.check(["report"]):
            self._adopt(Report.from_json(self._store.get("report")))
        else:
            self._publish()
            self._look_around()

    def _publish(self) -> None:
        if self._beat.is_due(self.state):
            doing = self._beat.of(self.state)
            self._store.set(_key(self._launch.rank), doing.to_json())

    def _look_around(self) -> None:
        """Look at the others while this rank waits for them, and judge when it did for too long."""
        since = self.state.waits_since
        now = time.monotonic()
        if since is None or now - since < BEAT_S:
            self._sight = Sight()
            return
        for rank in self._others:
            self._sight.see(rank, self._last_seen(rank), now)
        if now - since > self._timeout_s and now - self._sight.since > SILENT_AFTER_S:
            report = self._sight.judge(self._launch.rank, self._timeout_s, now)
            text = self._store.compare_set("report", "", report.to_json())
            self._adopt(Report.from_json(text))

    def _last_seen(self, rank: int) -> Doing | None:
        if not self._store.check([_key(rank)]):
            return None
        return Doing.from_json(self._store.get(_key(rank)))

    def _without_store(self, what: str) -> Report:
        host = "the launcher" if self._launch.uses_agent_store else "rank 0"
        return Report.no_store(host, self._launch.address, what)

    # The thread that needs no other

    def _guard(self) -> None:
        # Counted, not timed: a process that was stopped and goes on has missed nothing.
        while not self.known.wait(POLL_S):
            if self._closed.is_set():
                return
            self._polls_missed += 1
            if self._polls_missed * POLL_S > self._timeout_s:
                what = f"has not answered for engine.timeout_s={self._timeout_s:g} s"
                self._adopt(self._without_store(what))
        if self._failed_itself:
            return
        threading.Thread(target=self._wake_all, name="gru_parallel wake", daemon=True).start()
        time.sleep(GUARD_S)
        print(f"gru_parallel: rank {self._launch.rank}: {self.message()}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)

    def _wake_all(self) -> None:
        for group in tuple(self._groups):
            break_off(group)


class Beat:
    """When this rank publishes what it does, and with which number."""

    def __init__(self) -> None:
        self.ends = False
        self._n = 0
        self._last = -BEAT_S
        self._state: State | None = None
        self._since = 0.0

    def is_due(self, state: State) -> bool:
        """Whether to publish now: once a second, or when the state has stayed the same for long."""
        if state is not self._state:
            self._state = state
            self._since = time.monotonic()
        return time.monotonic() - self._last >= BEAT_S

    def of(self, state: State) -> Doing:
        """Return what to publish."""
        self._n += 1
        self._last = time.monotonic()
        return Doing(state.what, state.waits_since is not None, self._n, self._last - self._since)


class Sight:
    """What a waiting rank has seen of the others since it began to look."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self._doing: dict[int, Doing | None] = {}
        self._changed: dict[int, float] = {}

    def see(self, rank: int, doing: Doing | None, now: float) -> None:
        """Note what a rank has published."""
        before = self._doing.get(rank)
        if (
            rank not in self._doing
            or doing is None
            or before is None
            or (doing.n_beats != before.n_beats)
        ):
            self._changed[rank] = now
        self._doing[rank] = doing

    def judge(self, own: int, timeout_s: float, now: float) -> Report:
        """Find the rank that keeps the others waiting."""
        stopped = [r for r, changed in self._changed.items() if now - changed > SILENT_AFTER_S]
        if stopped:
            longest = min(stopped, key=lambda r: self._changed[r])
            return Report.silent(longest, timeout_s, self._doing[longest])
        known = {rank: doing for rank, doing in self._doing.items() if doing is not None}
        busy = {rank: doing.for_s for rank, doing in known.items() if not doing.waits}
        if busy:
            longest = max(busy, key=lambda r: busy[r])
            return Report.silent(longest, timeout_s, known[longest])
        return Report.all_wait(own, timeout_s, known)


def _key(rank: int) -> str:
    return f"doing/{rank}"
