"""Report: what happened to a rank, in words that every rank can show."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

LONGEST_ERROR = 2000
LONGEST_ACTIVITY = 300


@dataclass(frozen=True)
class PublishedActivity:
    """What a rank does, as the others see it.

    Attributes:
        what: it does, in words.
        waits: whether it waits for others.
        for_s: how long it has been at this, in seconds.
        n_beats: grows about once a second while the process runs.
    """

    what: str
    waits: bool
    for_s: float = 0.0
    n_beats: int = 0

    def __str__(self) -> str:
        return f"waiting: {self.what}" if self.waits else self.what

    def to_json(self) -> str:
        """Return the text for the store."""
        return json.dumps(asdict(self) | {"what": self.what[:LONGEST_ACTIVITY]})

    @classmethod
    def from_json(cls, text: bytes) -> PublishedActivity:
        """Read the store's text."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Report:
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
    def failed(cls, rank: int, activity: PublishedActivity, error: BaseException) -> Report:
        """A rank raised an error."""
        return cls(rank, f"rank {rank} failed while {activity}: {described(error)}")

    @classmethod
    def ended(cls, rank: int, activity: PublishedActivity | None) -> Report:
        """A rank's process is gone, and left no report."""
        return cls(
            rank,
            f"rank {rank} ended without a report (killed, or its machine is gone){_seen(activity)}",
            is_gone=True,
        )

    @classmethod
    def silent(cls, rank: int, timeout_s: float, activity: PublishedActivity | None) -> Report:
        """A rank kept another one waiting for too long."""
        return cls(
            rank,
            f"rank {rank} has not answered for engine.timeout_s={timeout_s:g} s{_seen(activity)}",
        )

    @classmethod
    def all_wait(
        cls, rank: int, timeout_s: float, activities: dict[int, PublishedActivity]
    ) -> Report:
        """A rank waited for too long, and all others waited, too."""
        whats = "; ".join(
            f"rank {other} {activity}" for other, activity in sorted(activities.items())
        )
        return cls(
            rank,
            f"rank {rank} got no answer for engine.timeout_s={timeout_s:g} s, "
            f"and every other rank waits too: {whats}",
        )

    @classmethod
    def cut_off(cls, rank: int, activity: PublishedActivity, error: BaseException) -> Report:
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

    def to_json(self) -> str:
        """Return the text for the store."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Report:
        """Read the store's text."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**fields)


def described(error: BaseException) -> str:
    """Return an error's type, message and notes."""
    text = f"{type(error).__name__}: {error}"
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    return "\n".join([text, *notes])[:LONGEST_ERROR]


def _seen(activity: PublishedActivity | None) -> str:
    return "" if activity is None else f"; it was last seen while {activity}"
