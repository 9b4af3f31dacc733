"""Sight: which rank keeps the others waiting, from what all of them publish."""

from __future__ import annotations

from gru_parallel.ranks.report import Doing, Report

SILENT_AFTER_S = 2.5
"""A rank whose beats have not grown for so long does not run."""


class Sight:
    """What a waiting rank has seen of the others since it began to look.

    Args:
        since: when that was.
    """

    def __init__(self, since: float) -> None:
        self._since = since
        self._doing: dict[int, Doing | None] = {}
        self._changed: dict[int, float] = {}

    def see(self, rank: int, doing: Doing | None, now: float) -> None:
        """Note what a rank has published; None if nothing yet."""
        before = self._doing.get(rank)
        if rank not in self._doing or _n_beats(doing) != _n_beats(before):
            self._changed[rank] = now
        self._doing[rank] = doing

    def is_enough(self, now: float) -> bool:
        """Whether it has looked for so long that a rank that does not run can be told."""
        return now - self._since > SILENT_AFTER_S

    def judge(self, own: int, timeout_s: float, now: float) -> Report:
        """Find the rank that keeps the others waiting.

        Args:
            own: the rank that judges.
            timeout_s: how long it has waited.
            now: the time.
        """
        stopped = [r for r, changed in self._changed.items() if now - changed > SILENT_AFTER_S]
        if stopped:
            longest = min(stopped, key=lambda rank: self._changed[rank])
            return Report.silent(longest, timeout_s, self._doing[longest])
        known = {rank: doing for rank, doing in self._doing.items() if doing is not None}
        busy = {rank: doing for rank, doing in known.items() if not doing.waits}
        if busy:
            longest = max(busy, key=lambda rank: busy[rank].for_s)
            return Report.silent(longest, timeout_s, busy[longest])
        return Report.all_wait(own, timeout_s, known)


def _n_beats(doing: Doing | None) -> int:
    return 0 if doing is None else doing.n_beats
