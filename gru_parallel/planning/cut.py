"""Cut blocks into stages for devices that need not be alike: the slowest stage as fast as can be.

Whether every stage can end within a given time is found by dynamic programming over how many
devices of each kind are used, each stage taking as many blocks as it can; the least such time by
bisection, in which a time that is too short is followed by the least for which a stage could take a
block more. Source of both, for devices of one kind: J. L. Bentley and others' greedy probe for
chains on chains, and its bids, as in A. Pinar and C. Aykanat, Fast Optimal Load Balancing
Algorithms for 1D Partitioning, 2004.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations, pairwise, product
from math import prod

Fits = Callable[[int, int, int, int], bool]
"""Whether a stage, by its number, on a device of a kind, may have blocks from the first up to the
second."""

Stages = tuple[tuple[int, int], ...]
"""For each stage the kind of its device, and where its blocks end."""

Reached = dict[tuple[int, ...], dict[int, Stages]]
"""By how many devices of each kind are used, how many blocks they can take, and how."""

_MOST_PLACES = 20_000
_PRECISION = 1e-9


@dataclass(frozen=True)
class Cut:
    """Which blocks the stages have, and on which kind of device each of them is.

    Attributes:
        kinds: of each stage's device, by number.
        sizes: blocks of each stage.
        slowest: what the slowest stage takes.
    """

    kinds: tuple[int, ...]
    sizes: tuple[int, ...]
    slowest: float


def fastest_cut(
    weights: Sequence[Sequence[float]],
    counts: Sequence[int],
    n_stages: int,
    around: Sequence[float] | None = None,
    fits: Fits | None = None,
    ramp: float = 0.0,
) -> Cut | None:
    """Cut blocks so that the slowest stage is as fast as can be, to within a billionth.

    With several kinds of devices and many blocks it is nearly that: stages are then as long as can
    be from the front on.

    Args:
        weights: for each kind of device, what each block takes on it.
        counts: devices of each kind.
        n_stages: stages, each with at least one block and a device of its own.
        around: for each kind of device, what a stage on it takes besides.
        fits: whether a stage may have some blocks; if it may, then also fewer of them.
        ramp: the share of earlier blocks' time that a stage has to wait for, which counts to its
            own.

    Returns:
        The cut, its stages as even as that allows; None where nothing fits.
    """
    n_blocks = len(weights[0])
    besides = around or [0.0] * len(weights)
    sums = [list(accumulate(of_kind, initial=0.0)) for of_kind in weights]
    problem = _Problem(sums, counts, n_stages, n_blocks, besides, fits, ramp)
    best, _ = problem.cut_within(float("inf"))
    if best is None:
        return None
    low = max(min(max(of_kind) for of_kind in weights), 0.0)
    while best.slowest - low > _PRECISION * best.slowest:
        middle = (low + best.slowest) / 2
        found, longer = problem.cut_within(middle)
        if found is None:
            low = max(middle, longer)
        else:
            best = found
    return problem.evened(best)


@dataclass(frozen=True)
class _Problem:
    sums: Sequence[Sequence[float]]
    counts: Sequence[int]
    n_stages: int
    n_blocks: int
    around: Sequence[float]
    fits: Fits | None
    ramp: float

    def time(self, kind: int, first: int, stop: int) -> float:
        sums = self.sums[kind]
        return sums[stop] - (1 - self.ramp) * sums[first] + self.around[kind]

    def cut_within(self, limit: float) -> tuple[Cut | None, float]:
        """Find a cut whose stages all end within a limit.

        Returns:
            The cut, None where there is none, and the least limit above this one with which a stage
            may have a block more: no limit between the two changes anything.
        """
        n_kinds = len(self.counts)
        longer = float("inf")
        reached: Reached = {(0,) * n_kinds: {0: ()}}
        for stage in range(self.n_stages):
            following: Reached = {}
            for used, places in reached.items():
                for kind in range(n_kinds):
                    if used[kind] == self.counts[kind]:
                        continue
                    now = (*used[:kind], used[kind] + 1, *used[kind + 1 :])
                    found = following.setdefault(now, {})
                    for first, stages in places.items():
                        stop, longer_here = self._furthest(stage, kind, first, limit)
                        longer = min(longer, longer_here)
                        if stop is None:
                            continue
                        for place in range(first + 1, stop + 1) if self.is_small else (stop,):
                            found.setdefault(place, (*stages, (kind, place)))
            reached = following if self.is_small else _furthest_alone(following)
        for places in reached.values():
            if self.n_blocks in places:
                return self._cut(places[self.n_blocks]), longer
        return None, longer

    @cached_property
    def is_small(self) -> bool:
        """Whether each place that stages can end at is tried, and not the furthest alone.

        With devices of one kind the furthest is enough. With several, the next kind may be too slow
        for the block there, and not for one before.
        """
        n_used = prod(count + 1 for count in self.counts)
        return len(self.counts) > 1 and n_used * self.n_blocks**2 <= _MOST_PLACES

    def _furthest(
        self, stage: int, kind: int, first: int, limit: float
    ) -> tuple[int | None, float]:
        """Return where the longest stage from `first` on ends that may be; None for none.

        With it, the least limit with which it could have a block more.
        """
        most = self.n_blocks - (self.n_stages - stage - 1)

        def may_be(stop: int) -> bool:
            in_time = self.time(kind, first, stop) <= limit
            return in_time and (self.fits is None or self.fits(stage, kind, first, stop))

        low, high = first, most
        if self.fits is None:
            # As far as the time allows but for rounding.
            sums = self.sums[kind]
            end = limit + (1 - self.ramp) * sums[first] - self.around[kind]
            near = bisect_right(sums, end, first, most + 1) if most >= first else first
            low, high = max(first, near - 1), min(most, near)
            while low > first and not may_be(low):
                low -= 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if may_be(middle) else (low, middle - 1)
        longer = float("inf")
        if low < most and (self.fits is None or self.fits(stage, kind, first, low + 1)):
            longer = self.time(kind, first, low + 1)
        return (low if low > first else None), longer

    def evened(self, cut: Cut) -> Cut:
        """Share the blocks out as evenly as the slowest stage and what fits allow."""
        limit = cut.slowest * (1 + _PRECISION)
        # From the back: where each stage may begin at the earliest.
        earliest = [self.n_blocks] * (self.n_stages + 1)
        for stage in range(self.n_stages - 1, -1, -1):
            stop = earliest[stage + 1]
            first = stop - 1
            while first > stage and self._may_be(stage, cut.kinds[stage], first - 1, stop, limit):
                first -= 1
            earliest[stage] = first
        stages: list[tuple[int, int]] = []
        first = 0
        for stage, kind in enumerate(cut.kinds):
            share = self._rest(cut.kinds[stage:], first) / (self.n_stages - stage)
            stop = max(first + 1, earliest[stage + 1])
            most = self.n_blocks - (self.n_stages - stage - 1)
            while (
                stop < most
                and self._may_be(stage, kind, first, stop + 1, limit)
                and self._is_nearer(kind, first, stop, share)
            ):
                stop += 1
            stages.append((kind, stop))
            first = stop
        firsts = [0, *(stop for _, stop in stages)]
        # A longer stage may have left the next one a block that is too slow for its device.
        is_right = first == self.n_blocks and all(
            self._may_be(stage, kind, firsts[stage], stop, limit)
            for stage, (kind, stop) in enumerate(stages)
        )
        return self._cut(tuple(stages)) if is_right else cut

    def _may_be(self, stage: int, kind: int, first: int, stop: int, limit: float) -> bool:
        in_time = self.time(kind, first, stop) <= limit
        return in_time and (self.fits is None or self.fits(stage, kind, first, stop))

    def _rest(self, kinds: Sequence[int], first: int) -> float:
        """What the remaining blocks take on the remaining devices, one after the other."""
        mean = sum(self.sums[kind][-1] - self.sums[kind][first] for kind in kinds) / len(kinds)
        return mean + sum(self.around[kind] for kind in kinds)

    def _is_nearer(self, kind: int, first: int, stop: int, share: float) -> bool:
        """Whether one block more brings a stage nearer to its share."""
        now, then = self.time(kind, first, stop), self.time(kind, first, stop + 1)
        return abs(then - share) < abs(now - share)

    def _cut(self, stages: Stages) -> Cut:
        kinds = tuple(kind for kind, _ in stages)
        stops = [0, *(stop for _, stop in stages)]
        sizes = tuple(stop - first for first, stop in pairwise(stops))
        times = [
            self.time(kind, first, stop)
            for kind, first, stop in zip(kinds, stops, stops[1:], strict=False)
        ]
        return Cut(kinds, sizes, max(times))


def _furthest_alone(reached: Reached) -> Reached:
    return {used: {max(places): places[max(places)]} for used, places in reached.items() if places}


def all_cuts(
    n_blocks: int, counts: Sequence[int], n_stages: int, limit: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
    """List every sequence of kinds of devices with every way to cut; None if there are too many.

    Args:
        n_blocks: to cut.
        counts: devices of each kind.
        n_stages: stages.
        limit: the most that are listed.
    """
    if _compositions(n_blocks, n_stages) * len(counts) ** n_stages > 64 * limit:
        return None
    sequences = [
        kinds
        for kinds in product(range(len(counts)), repeat=n_stages)
        if all(kinds.count(kind) <= count for kind, count in enumerate(counts))
    ]
    if len(sequences) * _compositions(n_blocks, n_stages) > limit:
        return None
    return list(product(sequences, _all_sizes(n_blocks, n_stages)))


def _compositions(n_blocks: int, n_stages: int) -> int:
    least = min(n_stages - 1, n_blocks - n_stages)
    if least < 0:
        return 0
    above = prod(n_blocks - 1 - index for index in range(least))
    return above // prod(range(1, least + 1))


def _all_sizes(n_blocks: int, n_stages: int) -> Iterator[tuple[int, ...]]:
    for places in combinations(range(1, n_blocks), n_stages - 1):
        yield tuple(stop - first for first, stop in pairwise((0, *places, n_blocks)))
