"""The partition against every possible cut, in exact arithmetic."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.placement import partition

COSTS = st.lists(st.floats(min_value=0, max_value=1e12), min_size=1, max_size=8)
# Few different values, so that ties are common.
TIED_COSTS = st.lists(st.integers(min_value=0, max_value=3).map(float), min_size=1, max_size=9)


def every_cut(n_items: int, n_parts: int) -> Iterator[tuple[int, ...]]:
    for cuts in combinations(range(1, n_items), n_parts - 1):
        yield tuple(stop - start for start, stop in pairwise((0, *cuts, n_items)))


def part_sums(costs: Sequence[float], sizes: Sequence[int]) -> list[Fraction]:
    starts = [sum(sizes[:part]) for part in range(len(sizes))]
    return [
        sum(map(Fraction, costs[start : start + size]), Fraction(0))
        for start, size in zip(starts, sizes, strict=True)
    ]


def best_of_all(costs: Sequence[float], n_parts: int) -> tuple[int, ...]:
    def badness(sizes: tuple[int, ...]) -> tuple[Fraction, Fraction, tuple[int, ...]]:
        sums = part_sums(costs, sizes)
        return max(sums), sum((part * part for part in sums), Fraction(0)), sizes

    return min(every_cut(len(costs), n_parts), key=badness)


@given(costs=COSTS | TIED_COSTS, data=st.data())
def test_a_partition_is_the_best_of_all_cuts(costs: list[float], data: st.DataObject) -> None:
    n_parts = data.draw(st.integers(min_value=1, max_value=len(costs)))

    assert partition(costs, n_parts) == best_of_all(costs, n_parts)


def test_the_largest_part_counts_before_evenness() -> None:
    # 6 2 3 has the smaller sum of squares, 49 against 51, but 1 5 5 has the smaller largest part.
    assert partition([1, 5, 2, 3], 3) == (1, 1, 2)


def test_among_equal_largest_parts_the_rest_is_even() -> None:
    # The item of 10 decides the largest part whatever happens to the others.
    assert partition([10, 1, 1, 1, 1], 3) == (1, 2, 2)


def test_equal_costs_put_the_longer_parts_last() -> None:
    assert partition([1.0] * 5, 2) == (2, 3)
    assert partition([1.0] * 8, 3) == (2, 3, 3)


def test_rounding_does_not_decide() -> None:
    # In floats 1 + 1e16 is 1e16, which would make the cut after the first item look just as good.
    assert partition([1e16 - 2, 1.0, 1e16], 2) == (2, 1)


def test_as_many_parts_as_items_hold_one_each() -> None:
    assert partition([3.0, 0.0, 5.0], 3) == (1, 1, 1)


@pytest.mark.parametrize("n_parts", [-1, 0, 4])
def test_a_number_of_parts_that_does_not_fit_is_refused(n_parts: int) -> None:
    message = f"n_parts={n_parts} does not fit 3 costs; use 1 to 3 parts."
    with pytest.raises(ValueError, match=message):
        partition([1.0, 2.0, 3.0], n_parts)


@pytest.mark.parametrize("cost", [-1.0, math.inf, math.nan])
def test_a_cost_that_is_no_cost_is_refused(cost: float) -> None:
    with pytest.raises(ValueError, match=f"the cost {cost} is not a finite number"):
        partition([1.0, cost], 1)
