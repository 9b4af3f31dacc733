"""On which cells a layer is timed: rows and steps."""

from __future__ import annotations

from collections.abc import Collection

from gru_parallel.planning.cell_costs import LayerKind

_FEW_STEPS = 4


def most_steps(*, is_cpu: bool) -> int:
    """Return how many steps are enough: longer chunks take as much longer as they are longer.

    On a CPU a profile would pay for them with rounds.
    """
    return 32 if is_cpu else 128


def enough_products(*, is_cpu: bool) -> float:
    """Return how many multiplications are enough for the F of a cell, for the same reason."""
    return 1.5e8 if is_cpu else 3e11


def longest(kinds: Collection[LayerKind], n_rows: int, n_steps: int, *, is_cpu: bool) -> int:
    """Return how many steps of a window the longest cells have that are measured."""
    n_products = n_rows * max(kind.n_products for kind in kinds)
    enough = enough_products(is_cpu=is_cpu) / n_products
    # One length alone would not tell what a cell takes at once from what each step takes: so a few
    # steps, unless that is too many multiplications several times over.
    affordable = int(min(max(enough, _FEW_STEPS), _FEW_STEPS * enough))
    return max(1, min(n_steps, most_steps(is_cpu=is_cpu), affordable))


def cell_sizes(n_rows: int, n_steps: int) -> list[tuple[int, int]]:
    """Choose the cells to measure: rows and steps.

    All rows with ever shorter chunks, because chunks are what a pipeline is mostly cut into; and
    fewer rows with two or three lengths of chunks each.
    """
    lengths = [n_steps]
    while lengths[-1] > 1:
        lengths.append(max(1, lengths[-1] // 4))
    sizes = [(n_rows, steps) for steps in reversed(lengths)]
    for cut in (2, 4, 16):
        # Batches that are cut are mostly cut in two.
        parts = (32, 8, 1) if cut == 2 else (8, 1)
        sizes += [(max(1, n_rows // cut), max(1, n_steps // part)) for part in parts]
    return list(dict.fromkeys(sizes))


def few_cell_sizes(n_rows: int, n_steps: int) -> list[tuple[int, int]]:
    """Choose the cells to measure of what is chosen more seldom: the ends of both lines."""
    few = max(1, n_rows // 8)
    lengths = dict.fromkeys((min(2, n_steps), max(1, n_steps // 8), n_steps))
    sizes = [(n_rows, steps) for steps in lengths]
    return [*sizes, *((few, steps) for steps in list(lengths)[1:] if few < n_rows)]
