"""ActivityLog: what the threads of this rank do, for the other ranks to see."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gru_parallel.ranks.report import Activity


class ActivityLog:
    """Records what each thread does. Cheap: it is called hundreds of times per step."""

    def __init__(self) -> None:
        self._latest = Activity("it started", False, time.monotonic())
        self._work: dict[int, Activity] = {}
        self._waits: dict[int, Activity] = {}

    def record(self, what: str) -> None:
        """Record what the calling thread does from now on."""
        self._latest = Activity(what, False, time.monotonic())
        self._work[threading.get_ident()] = self._latest

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Record what the calling thread does inside; after an error, it is still recorded."""
        thread = threading.get_ident()
        before, latest = self._work.get(thread), self._latest
        self.record(what)
        yield
        del self._work[thread]
        if before is not None:
            self._work[thread] = before
        self._latest = Activity(latest.what, False, time.monotonic())

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Record that the calling thread waits for other ranks inside."""
        thread = threading.get_ident()
        before = self._waits.get(thread)
        self._waits[thread] = Activity(what, True, time.monotonic())
        try:
            yield
        finally:
            if before is None:
                del self._waits[thread]
            else:
                self._waits[thread] = before
            # The thread resumes what it did before, but did not work on it while it waited.
            if thread in self._work:
                self.record(self._work[thread].what)
            else:
                # It recorded nothing itself: the main thread, say, whose workers run the stages.
                self._latest = Activity(self._latest.what, False, time.monotonic())

    def of_thread(self) -> Activity:
        """Return what the calling thread does."""
        thread = threading.get_ident()
        return self._waits.get(thread) or self._work.get(thread) or self._latest

    def of_rank(self) -> Activity:
        """Return what the rank does: of all that has not ended, what began last."""
        return max([self._latest, *tuple(self._waits.values())], key=lambda one: one.since)

    def longest_wait(self) -> Activity | None:
        """Return the wait that began first; None while no thread waits."""
        return min(tuple(self._waits.values()), key=lambda one: one.since, default=None)
