"""Report: what happened to a rank, in words that every rank can show."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

LONGEST_ERROR = 2000
LONGEST_ACTIVITY = 300


class RankError(RuntimeError):
    """A rank cannot continue because another rank failed, ended or went silent.

    The message names that rank, what it did, and what this one was doing.
    """


class Activity(NamedTuple):
    """What a thread or a rank does.

    Attributes:
        what: it does, in words.
        waits: whether it waits for other ranks.
        since: when it began, in seconds of this process's monotonic clock.
        n_beats: of another rank: grows about once a second while its process runs.
    """

    what: str
    waits: bool
    since: float
    n_beats: int = 0

    def __str__(self) -> str:
        return f"waiting: {self.what}" if self.waits else self.what

    def to_json(self) -> str:
        """Return the text for the store: how long instead of since when, for clocks differ."""
        for_s = time.monotonic() - self.since
        return json.dumps([self.what[:LONGEST_ACTIVITY], self.waits, for_s, self.n_beats])

    @classmethod
    def from_json(cls, text: bytes) -> Activity:
        """Read the store's text."""
        what, waits, for_s, n_beats = json.loads(text)
        return cls(what, waits, time.monotonic() - for_s, n_beats)


class Report(NamedTuple):
    """What happened to a rank.

    Attributes:
        rank: which.
        happened: the sentence, without its full stop.
        is_gone: whether its process is gone, so that it will never read this.
    """

    rank: int
    happened: str
    is_gone: bool = False

    @classmethod
    def failed(cls, rank: int, activity: Activity, error: BaseException) -> Report:
        """A rank raised an error."""
        return cls(rank, f"rank {rank} failed while {activity}: {described(error)}")

    @classmethod
    def ended(cls, rank: int, activity: Activity | None) -> Report:
        """A rank's process is gone, and left no report."""
        how = "without a report (killed, or its machine is gone)"
        return cls(rank, f"rank {rank} ended {how}{_seen(activity)}", is_gone=True)

    @classmethod
    def silent(cls, rank: int, timeout_s: float, activity: Activity | None) -> Report:
        """A rank kept another one waiting for too long."""
        limit = f"engine.timeout_s={timeout_s:g} s"
        return cls(rank, f"rank {rank} has not answered for {limit}{_seen(activity)}")

    @classmethod
    def all_wait(cls, rank: int, timeout_s: float, activities: dict[int, Activity]) -> Report:
        """A rank waited for too long, and all others waited, too."""
        whats = "; ".join(f"rank {other} {what}" for other, what in sorted(activities.items()))
        return cls(
            rank,
            f"rank {rank} got no answer for engine.timeout_s={timeout_s:g} s, "
            f"and every other rank waits too: {whats}",
        )

    @classmethod
    def cut_off(cls, rank: int, activity: Activity, error: BaseException) -> Report:
        """A rank lost its connection to another, for no reason that any rank reported."""
        return cls(
            rank,
            f"rank {rank} lost its connection to another rank while {activity}, "
            f"and no rank has reported a failure: {described(error)}",
        )

    @classmethod
    def no_store(cls, host: str, address: str, what: str) -> Report:
        """The store is gone, or does not answer."""
        return cls(0, f"{host} {what}, and with it the store of the run at {address}")


def described(error: BaseException) -> str:
    """Return an error's type, message and notes."""
    notes = getattr(error, "__notes__", ())
    return "\n".join([f"{type(error).__name__}: {error}", *map(str, notes)])[:LONGEST_ERROR]


def _seen(activity: Activity | None) -> str:
    return "" if activity is None else f"; it was last seen while {activity}"
