"""StallDetector: which rank keeps the others waiting, from what all of them publish."""

from __future__ import annotations

from typing import NamedTuple

from gru_parallel.ranks.report import Activity, Report

STALLED_AFTER_S = 2.5
"""A process whose beats have not grown for this long has stopped."""


class Seen(NamedTuple):
    """What another rank was last seen doing.

    Attributes:
        activity: of the rank; None if it has published nothing.
        has_stopped: whether its process has stopped since.
    """

    activity: Activity | None
    has_stopped: bool


class StallDetector:
    """Observes the other ranks while this one waits, from a time on."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._seen: dict[int, Activity | None] = {}
        self._changed: dict[int, float] = {}

    def observe(self, rank: int, activity: Activity | None, now: float) -> None:
        """Record what a rank has published; None if nothing yet."""
        if rank not in self._seen or _n_beats(activity) != _n_beats(self._seen[rank]):
            self._changed[rank] = now
        self._seen[rank] = activity

    def can_judge(self, now: float) -> bool:
        """Whether it has observed for long enough to tell a process that has stopped."""
        return now - self._since > STALLED_AFTER_S

    def seen(self, now: float) -> dict[int, Seen]:
        """Return what each rank was last seen doing, and whether its process has stopped."""
        stopped = self._stopped(now)
        return {rank: Seen(one, rank in stopped) for rank, one in dict(self._seen).items()}

    def judge(self, judge: int, timeout_s: float, now: float) -> Report:
        """Find the rank that keeps the others waiting, for a judge that has waited too long."""
        stopped = self._stopped(now)
        if stopped:
            longest = min(stopped, key=lambda rank: self._changed[rank])
            return Report.silent(longest, timeout_s, self._seen[longest])
        known = {rank: activity for rank, activity in self._seen.items() if activity is not None}
        busy = [rank for rank, activity in known.items() if not activity.waits]
        if busy:
            longest = min(busy, key=lambda rank: known[rank].since)
            return Report.silent(longest, timeout_s, known[longest])
        return Report.all_wait(judge, timeout_s, known)

    def _stopped(self, now: float) -> list[int]:
        changed = dict(self._changed)
        return [rank for rank, at in changed.items() if now - at > STALLED_AFTER_S]


def _n_beats(activity: Activity | None) -> int:
    return 0 if activity is None else activity.n_beats
