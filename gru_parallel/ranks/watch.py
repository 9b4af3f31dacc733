"""Watch: the ranks watch each other, and all of them end when one does.

Four threads per rank. One polls the store: it publishes what this rank does, reads what the others
do, and looks for a report of a failure. One waits in the ring. The third wakes whatever waits in
this process once a failure is known. The fourth, the guard, depends on none of the others: it
notices that the store does not answer, and ends a process that has not ended by itself.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable

import torch.distributed as dist
from torch._C._distributed_c10d import Store

from gru_parallel.ranks.abort import abort
from gru_parallel.ranks.activity_log import ActivityLog
from gru_parallel.ranks.launch import Launch
from gru_parallel.ranks.report import Activity, Report
from gru_parallel.ranks.ring import Ring
from gru_parallel.ranks.stall_detector import Seen, StallDetector

POLL_S = 0.3
BEAT_S = 1.0
GUARD_S = 5.0
"""How long a process has to end by itself once another rank has failed."""
SUBMIT_S = 2.0
LINGER_S = 2.0


class Watch:
    """Watches the other ranks, and lets them watch this one.

    Args:
        launch: of this process.
        store: a client that nothing else uses: a get that blocks in another thread would block it.
        timeout_s: how long this rank may wait for another.

    Attributes:
        log: what this rank does.
        failure_known: set once a rank of the run has failed.
    """

    def __init__(self, launch: Launch, store: Store, timeout_s: float) -> None:
        self.log = ActivityLog()
        self.failure_known = threading.Event()
        self._launch = launch
        self._others = [rank for rank in range(launch.world_size) if rank != launch.rank]
        self._store = store
        self._timeout_s = timeout_s
        self._groups: list[dist.ProcessGroup] = []
        self._ring: Ring | None = None
        self._report: Report | None = None
        self._to_submit: Callable[[], Report] | None = None
        self._failed_itself = False
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._accepting = threading.Lock()
        self._polls_missed = 0
        self._detector: StallDetector | None = None
        self._ends = False
        self._n_beats = 0
        self._last_beat = -math.inf
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to watch; a single rank has no other to watch."""
        if not self._others:
            return
        for work in (self._poll_store, self._wake_all, self._guard):
            thread = threading.Thread(
                target=work, name=f"gru_parallel {work.__name__.strip('_')}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def join_ring(self, group: dist.ProcessGroup) -> None:
        """Watch the next rank's process, too; the ring has a Gloo group of all ranks for itself."""
        if self._others:
            self._ring = Ring(group, self._report_lost)

    def abort_on_failure(self, group: dist.ProcessGroup) -> None:
        """Abort this group when a rank fails."""
        self._groups.append(group)
        if self.failure_known.is_set():
            abort(group)

    def fail(self, error: BaseException) -> None:
        """Tell the others that this rank failed, unless another failed first."""
        self._failed_itself = not self.failure_known.is_set()
        activity = self.log.of_thread()
        self.submit(lambda: Report.failed(self._launch.rank, activity, error))

    def submit(self, make: Callable[[], Report]) -> None:
        """Put a report into the store, unless it has one; returns once a report is known.

        The report is made in the thread that polls the store.
        """
        if self.failure_known.is_set():
            return
        self._to_submit = make
        self._wake.set()
        if not self._others or not self.failure_known.wait(SUBMIT_S):
            # The store does not answer; the other ranks will notice that by themselves.
            self._accept(make())

    def others(self) -> dict[int, Seen]:
        """Return what the other ranks were last seen doing; {} unless this one waits for them."""
        detector = self._detector
        return {} if detector is None else detector.seen(time.monotonic())

    def message(self, here: Activity) -> str:
        """Return what happened to which rank, and what this one was doing here."""
        assert self._report is not None
        verb = "was waiting" if here.waits else "was busy"
        return f"{self._report.happened}; rank {self._launch.rank} {verb}: {here.what}"

    def stop(self) -> None:
        """Stop watching after a failure: all threads but the guard end."""
        self._abort_all()
        self._end_threads()

    def say_goodbye(self) -> None:
        """Stop watching after an orderly end."""
        self._closed.set()
        if self._ring is not None:
            self._ring.say_goodbye()
        self._end_threads()

    def _end_threads(self) -> None:
        if not self._others:
            return
        poll_store, wake_all, _ = self._threads
        self._ends = True
        self._wake.set()
        # A thread inside torch when the interpreter ends would abort the process.
        poll_store.join(SUBMIT_S)
        wake_all.join(SUBMIT_S)
        if self._ring is not None:
            self._ring.stop()
        if self._launch.hosts_store and not poll_store.is_alive():
            self._linger()

    def _linger(self) -> None:
        """Keep the store up until the others have read it for the last time."""
        end = time.monotonic() + LINGER_S
        n_readers = len(self._others) - (self._report is not None and self._report.is_gone)
        while self._store.add("done", 0) < n_readers and time.monotonic() < end:
            time.sleep(POLL_S / 10)

    def _accept(self, report: Report) -> None:
        with self._accepting:
            if self._report is None:
                self._report = report
                self.failure_known.set()

    def _report_lost(self, rank: int) -> None:
        self.submit(lambda: Report.ended(rank, self._last_seen(rank)))

    # The thread that polls the store

    def _poll_store(self) -> None:
        try:
            while not self._ends and not self.failure_known.is_set():
                self._poll()
                self._polls_missed = 0
                self._wake.wait(POLL_S)
                self._wake.clear()
            if not self._launch.hosts_store:
                self._store.add("done", 1)
        except RuntimeError:
            if not self._ends:
                self._accept(self._without_store("ended without a report"))

    def _poll(self) -> None:
        if self._to_submit is not None:
            self._put(self._to_submit())
        elif self._store.check(["report"]):
            self._accept(Report(*json.loads(self._store.get("report"))))
        else:
            self._publish()
            self._look_for_stalls()

    def _put(self, report: Report) -> None:
        """Put a report into the store, unless it has one; accept the one that it has then."""
        found = self._store.compare_set("report", "", json.dumps(report))
        self._accept(Report(*json.loads(found)))

    def _publish(self) -> None:
        now = time.monotonic()
        if now - self._last_beat < BEAT_S:
            return
        self._last_beat = now
        self._n_beats += 1
        activity = self.log.of_rank()._replace(n_beats=self._n_beats)
        self._store.set(f"activity/{self._launch.rank}", activity.to_json())

    def _look_for_stalls(self) -> None:
        """Observe the others while this rank waits, and judge once it has waited for too long."""
        now = time.monotonic()
        wait = self.log.longest_wait()
        if wait is None or now - wait.since < BEAT_S:
            self._detector = None
            return
        self._detector = self._detector or StallDetector(now)
        for rank in self._others:
            self._detector.observe(rank, self._last_seen(rank), now)
        if now - wait.since > self._timeout_s and self._detector.can_judge(now):
            self._put(self._detector.judge(self._launch.rank, self._timeout_s, now))

    def _last_seen(self, rank: int) -> Activity | None:
        key = f"activity/{rank}"
        return Activity.from_json(self._store.get(key)) if self._store.check([key]) else None

    def _without_store(self, what: str) -> Report:
        host = "the launcher" if self._launch.uses_agent_store else "rank 0"
        return Report.no_store(host, self._launch.address, what)

    # The threads that depend on no other

    def _wake_all(self) -> None:
        while not self.failure_known.wait(POLL_S):
            if self._ends:
                return
        self._abort_all()

    def _abort_all(self) -> None:
        for group in tuple(self._groups):
            abort(group)

    def _guard(self) -> None:
        # Counted, not timed: a process that was stopped and continued has missed nothing.
        while not self.failure_known.wait(POLL_S):
            if self._closed.is_set():
                return
            self._polls_missed += 1
            if self._polls_missed * POLL_S > self._timeout_s:
                what = f"has not answered for engine.timeout_s={self._timeout_s:g} s"
                self._accept(self._without_store(what))
        if self._failed_itself or self._closed.wait(GUARD_S):
            return
        here = self.log.longest_wait() or self.log.of_rank()
        print(f"gru_parallel: rank {self._launch.rank}: {self.message(here)}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)
