"""On which cells a layer is timed: rows and steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gru_parallel.planning.cell_costs import LayerKind

MOST_TIME_STEPS = 128
"""Longer chunks are taken to take as much longer as they are longer."""

_FEW_STEPS = 4


def enough_products(*, is_cpu: bool) -> float:
    """Return how many multiplications are enough for the F of a cell.

    On a CPU a profile would pay for more of them with rounds.
    """
    return 1.5e8 if is_cpu else 3e11


def longest(kinds: Collection[LayerKind], n_rows: int, n_steps: int, *, is_cpu: bool) -> int:
    """Return how many steps of a window the longest cells have that are measured."""
    n_products = n_rows * max(kind.n_products for kind in kinds)
    enough = enough_products(is_cpu=is_cpu) / n_products
    # One length alone would not tell what a cell takes at once from what each step takes: so a few
    # steps, unless that is too many multiplications several times over.
    affordable = int(min(max(enough, _FEW_STEPS), _FEW_STEPS * enough))
    return max(1, min(n_steps, MOST_TIME_STEPS, affordable))


def cell_sizes(n_rows: int, n_steps: int) -> list[tuple[int, int]]:
    """Choose the cells to measure: rows and steps.

    Two lengths for each number of rows, since what a cell takes grows with its steps along a line;
    and all rows with very short chunks too, because chunks are what a pipeline is mostly cut into.
    """
    shortest = (n_rows, max(1, n_steps // 64))
    return list(dict.fromkeys([shortest, *_two_lengths(n_rows, n_steps, cuts=(1, 2, 4, 16))]))


def few_cell_sizes(n_rows: int, n_steps: int) -> list[tuple[int, int]]:
    """Choose the cells to measure of what is chosen more seldom: the ends of both lines."""
    return _two_lengths(n_rows, n_steps, cuts=(1, 8))


def _two_lengths(n_rows: int, n_steps: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    sizes = ((max(1, n_rows // cut), max(1, n_steps // part)) for cut in cuts for part in (8, 1))
    return list(dict.fromkeys(sizes))
