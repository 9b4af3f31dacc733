"""Watch: the ranks watch over each other, and all of them end when one does.

Four threads a rank. One talks with the store: it publishes what this rank does, reads what the
others do, and looks for a report. One stands in the ring. The third wakes whatever waits in this
process once a failure is known. The fourth, the guard, needs none of the others: it notices that
the store does not answer, and ends a process that has not ended by itself.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import torch.distributed as dist
from torch._C._distributed_c10d import Store

from gru_parallel.ranks.break_off import break_off
from gru_parallel.ranks.launch import Launch
from gru_parallel.ranks.notes import Note, Notes
from gru_parallel.ranks.report import Doing, Report
from gru_parallel.ranks.ring import Ring
from gru_parallel.ranks.sight import Sight

POLL_S = 0.3
BEAT_S = 1.0
GUARD_S = 5.0
"""How long a process has to end by itself once another rank has failed."""
HAND_IN_S = 2.0
LINGER_S = 2.0


class Watch:
    """Watches over the other ranks, and lets them watch over this one.

    Args:
        launch: of this process.
        store: a client that nothing else uses: a get that blocks in another thread would hold it.
        timeout_s: how long this rank may wait for another.

    Attributes:
        notes: what this rank does.
        known: set once a rank of the run has failed.
    """

    def __init__(self, launch: Launch, store: Store, timeout_s: float) -> None:
        self.notes = Notes()
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
        self._sight: Sight | None = None
        self._ends = False
        self._n_beats = 0
        self._last_beat = -math.inf
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to watch; a rank alone has nobody to watch over."""
        if not self._others:
            return
        for work in (self._talk, self._wake_all, self._guard):
            thread = threading.Thread(
                target=work, name=f"gru_parallel {work.__name__.strip('_')}", daemon=True
            )
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
        doing = self.notes.of_thread().doing()
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

    def message(self, own: Note) -> str:
        """Say what became of which rank, and what this one did meanwhile.

        Args:
            own: what this one did.
        """
        assert self._report is not None
        verb = "was waiting" if own.waits else "was busy"
        return f"{self._report.happened}; rank {self._launch.rank} {verb}: {own.what}"

    def stop(self) -> None:
        """Watch no longer, after a failure: all threads but the guard end."""
        self._break_off_all()
        self._end_threads()

    def say_goodbye(self) -> None:
        """Watch no longer, after an orderly end."""
        self._closed.set()
        if self._ring is not None:
            self._ring.say_goodbye()
        self._end_threads()

    def _end_threads(self) -> None:
        if not self._others:
            return
        talk, wake_all, _ = self._threads
        self._ends = True
        self._wake.set()
        # A thread that is in torch when the interpreter ends would abort the process.
        talk.join(HAND_IN_S)
        wake_all.join(HAND_IN_S)
        if self._ring is not None:
            self._ring.stop()
        if self._launch.hosts_store and not talk.is_alive():
            self._linger()

    def _linger(self) -> None:
        """Keep the store up until the others have read it for the last time."""
        end = time.monotonic() + LINGER_S
        n_readers = len(self._others) - (self._report is not None and self._report.is_gone)
        while self._store.add("done", 0) < n_readers and time.monotonic() < end:
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
            while not self._ends and not self.known.is_set():
                self._poll()
                self._polls_missed = 0
                self._wake.wait(POLL_S)
                self._wake.clear()
            if not self._launch.hosts_store:
                self._store.add("done", 1)
        except RuntimeError:
            if not self._ends:
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
        now = time.monotonic()
        if now - self._last_beat < BEAT_S:
            return
        self._last_beat = now
        self._n_beats += 1
        doing = replace(self.notes.of_rank().doing(), n_beats=self._n_beats)
        self._store.set(_key(self._launch.rank), doing.to_json())

    def _look_around(self) -> None:
        """Look at the others while this rank waits for them, and judge when it did for too long."""
        now = time.monotonic()
        wait = self.notes.longest_wait()
        if wait is None or now - wait.since < BEAT_S:
            self._sight = None
            return
        self._sight = self._sight or Sight(now)
        for rank in self._others:
            self._sight.see(rank, self._last_seen(rank), now)
        if now - wait.since > self._timeout_s and self._sight.is_enough(now):
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

    # The threads that need no other

    def _wake_all(self) -> None:
        while not self.known.wait(POLL_S):
            if self._ends:
                return
        self._break_off_all()

    def _break_off_all(self) -> None:
        for group in tuple(self._groups):
            break_off(group)

    def _guard(self) -> None:
        # Counted, not timed: a process that was stopped and goes on has missed nothing.
        while not self.known.wait(POLL_S):
            if self._closed.is_set():
                return
            self._polls_missed += 1
            if self._polls_missed * POLL_S > self._timeout_s:
                what = f"has not answered for engine.timeout_s={self._timeout_s:g} s"
                self._adopt(self._without_store(what))
        if self._failed_itself or self._closed.wait(GUARD_S):
            return
        own = self.notes.longest_wait() or self.notes.of_rank()
        print(f"gru_parallel: rank {self._launch.rank}: {self.message(own)}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)


def _key(rank: int) -> str:
    return f"doing/{rank}"
