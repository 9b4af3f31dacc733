"""Runs: where things alike follow one another, so that what they come to is worked out once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise


class Runs:
    """Items of a sequence, grouped where equal ones follow one another.

    Args:
        items: in order.
    """

    def __init__(self, items: Sequence[object]) -> None:
        changes = enumerate(pairwise(items), start=1)
        self._starts = [0, *(at for at, (before, item) in changes if before != item)]

    def within(self, part: range) -> tuple[tuple[int, int], ...]:
        """Say of which runs a part of the sequence consists, and how much of each it has.

        Parts of which the same is said have the same items in the same order.

        Args:
            part: consecutive indices, at least one.
        """
        first, last = (bisect_right(self._starts, at) - 1 for at in (part.start, part.stop - 1))
        starts = [part.start, *self._starts[first + 1 : last + 1], part.stop]
        return tuple(
            (run, stop - start) for run, (start, stop) in enumerate(pairwise(starts), start=first)
        )
