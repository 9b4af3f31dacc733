"""Notes: what the threads of this rank do, for the others to see."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from gru_parallel.ranks.report import Doing


class Note(NamedTuple):
    """What a thread does: in words, whether it waits for others, and since when."""

    what: str
    waits: bool
    since: float

    def doing(self) -> Doing:
        """Return what the others may know of it."""
        return Doing(self.what, self.waits, time.monotonic() - self.since)


class Notes:
    """Keeps what each thread does. Cheap: it is told so hundreds of times a step."""

    def __init__(self) -> None:
        self._latest = Note("it started", False, time.monotonic())
        self._works: dict[int, Note] = {}
        self._waits: dict[int, Note] = {}

    def note(self, what: str) -> None:
        """Keep what the calling thread does from now on."""
        self._keep(Note(what, False, time.monotonic()))

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Keep what the calling thread does in the `with`; after an error it still does it."""
        thread = threading.get_ident()
        before, latest = self._works.get(thread), self._latest
        self.note(what)
        yield
        del self._works[thread]
        if before is not None:
            self._works[thread] = before
        self._latest = Note(latest.what, False, time.monotonic())

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Keep that the calling thread waits for others, until the end of the `with`."""
        thread = threading.get_ident()
        before = self._waits.get(thread)
        self._waits[thread] = Note(what, True, time.monotonic())
        try:
            yield
        finally:
            if before is None:
                del self._waits[thread]
            else:
                self._waits[thread] = before
            # It goes on with what it did before, but has not been at it while it waited.
            now = time.monotonic()
            if thread in self._works:
                self._keep(Note(self._works[thread].what, False, now))
            else:
                # It noted nothing itself, such as the main thread, whose workers run the stages.
                self._latest = Note(self._latest.what, False, now)

    def of_thread(self) -> Note:
        """Return what the calling thread does."""
        thread = threading.get_ident()
        return self._waits.get(thread) or self._works.get(thread) or self._latest

    def of_rank(self) -> Note:
        """Return what the rank does: what it began last, of what still goes on."""
        return max([self._latest, *self._all_waits()], key=lambda note: note.since)

    def longest_wait(self) -> Note | None:
        """Return the wait that began first; None while no thread waits."""
        return min(self._all_waits(), key=lambda note: note.since, default=None)

    def _keep(self, note: Note) -> None:
        self._works[threading.get_ident()] = note
        self._latest = note

    def _all_waits(self) -> list[Note]:
        return list(self._waits.values())
