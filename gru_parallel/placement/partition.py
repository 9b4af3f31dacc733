"""Cut a sequence of costs into contiguous parts so that the largest part is as small as possible.

This is the linear partition problem (S. Skiena, The Algorithm Design Manual, chapter on dynamic
programming), solved exactly.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeVar

Value = TypeVar("Value", int, tuple[int, int])
Partial = tuple[Value, tuple[int, ...]]


def partition(costs: Sequence[float], n_parts: int) -> tuple[int, ...]:
    """Cut costs into contiguous parts whose largest sum is as small as possible.

    Among the cuts that reach the smallest largest sum, the one with the smallest sum of squared
    part sums is chosen: the most even one. Of several such cuts, it is the one whose earlier parts
    are shorter, because the earlier a stage is, the more activations it keeps.

    Sums are exact, so rounding never decides. It takes time of order n_parts * len(costs)^2.

    Args:
        costs: cost of each item, finite and not negative.
        n_parts: number of parts, from 1 to the number of items; none of them is empty.

    Returns:
        Number of items in each part, in order.

    Raises:
        ValueError: n_parts does not fit the number of costs, or a cost is negative, infinite or
            not a number.
    """
    if not 1 <= n_parts <= len(costs):
        raise ValueError(
            f"n_parts={n_parts} does not fit {len(costs)} costs; use 1 to {len(costs)} parts."
        )
    weights = _as_integers(costs)
    limit, _ = _best_cut(weights, n_parts, max, 0)

    def over_limit_then_squares(part: int, rest: tuple[int, int]) -> tuple[int, int]:
        n_over_limit, squares = rest
        return n_over_limit + (part > limit), squares + part * part

    _, sizes = _best_cut(weights, n_parts, over_limit_then_squares, (0, 0))
    return sizes


def _best_cut(
    weights: Sequence[int], n_parts: int, join: Callable[[int, Value], Value], nothing: Value
) -> Partial[Value]:
    """Find the cut of least value and, among equals, of the lexicographically least sizes.

    `join` gives the value of a part, given its sum, together with the parts after it, given their
    value; `nothing` is the value of no parts at all.
    """
    sums = list(accumulate(weights, initial=0))

    def put_before(first: int, stop: int, rest: Partial[Value]) -> Partial[Value]:
        return join(sums[stop] - sums[first], rest[0]), (stop - first, *rest[1])

    # After k rounds, best[first] is the best cut of the items from `first` on into k parts.
    best: dict[int, Partial[Value]] = {len(weights): (nothing, ())}
    for _ in range(n_parts):
        best = {
            first: min(put_before(first, stop, best[stop]) for stop in best if stop > first)
            for first in range(max(best))
        }
    return best[0]


def _as_integers(costs: Sequence[float]) -> list[int]:
    """Scale the costs by their common denominator: integers add up without rounding."""
    for cost in costs:
        if not (math.isfinite(cost) and cost >= 0):
            raise ValueError(f"the cost {cost} is not a finite number of at least 0.")
    ratios = [cost.as_integer_ratio() for cost in costs]
    scale = math.lcm(*(denominator for _, denominator in ratios))
    return [numerator * (scale // denominator) for numerator, denominator in ratios]
