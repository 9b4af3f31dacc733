"""Smooths what was measured of a part, by what is known of cells: so much for each row and step.

Pure: points in, points out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from gru_parallel.planning.cell_costs import CellTimes
from gru_parallel.planning.profile import Point

_SURE_MS = 0.02
"""No time of an action is surer than this; without it, the shortest cells would count alone."""

_LARGE = 1 / 8
"""Cells of more than this share of the largest one's rows and steps leave caches, and each row and
step more takes longer. Chosen by what fits best; a sixteenth and a quarter are as good."""

_ENOUGH_TO_BEND = 7
"""Points, below which nothing is said of large cells: it would be as many numbers as points."""


def smoothed(points: Sequence[Point]) -> tuple[Point, ...]:
    """Move points to the nearest surface of the form (a + b rows) + (c + d rows) steps, or bent.

    A cell takes so much at once and so much for each of its steps, and either grows with its rows.
    Where there are enough points, e max(0, rows steps - n) is added, with n an eighth of the
    largest: large cells take more for each row and step. Each measured time is disturbed by what
    else the machine does; the surface has four or five numbers for all of them, none below 0, so
    one disturbed point moves it little. Least squares of relative errors.

    Args:
        points: of one part. Those of a number of rows that has one length only stay as they are.

    Returns:
        The points in their order; where there are too few to say more, as they came.
    """
    lengths = Counter(point.rows for point in points)
    several = [point for point in points if lengths[point.rows] > 1]
    if len(several) <= 4:
        return tuple(points)
    rows = np.array([point.rows for point in several], dtype=float)
    steps = np.array([point.steps for point in several], dtype=float)
    n_read = rows * steps
    terms = np.stack([np.ones_like(rows), rows, steps, n_read], axis=1)
    if len(several) >= _ENOUGH_TO_BEND:
        more = np.maximum(0.0, n_read - _LARGE * n_read.max())
        terms = np.column_stack([terms, more])
    taken = np.array([point.times for point in several])
    columns = [_on_surface(terms, taken[:, index]) for index in range(taken.shape[1])]
    on_surface = map(CellTimes._make, np.stack(columns, axis=1).tolist())
    moved = {
        point: point._replace(times=times) for point, times in zip(several, on_surface, strict=True)
    }
    return tuple(moved.get(point, point) for point in points)


def _on_surface(terms: NDArray[np.float64], ms: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = 1 / (ms + _SURE_MS)
    weighted, wanted = terms * weights[:, None], ms * weights
    best, least = np.zeros_like(ms), float(wanted @ wanted)
    # Non-negative least squares: the best solution is the plain one of some of the terms alone,
    # and five terms have 31 such sets.
    for n_terms in range(1, terms.shape[1] + 1):
        for chosen in map(list, combinations(range(terms.shape[1]), n_terms)):
            solution = np.linalg.lstsq(weighted[:, chosen], wanted, rcond=None)[0]
            error = float(((weighted[:, chosen] @ solution - wanted) ** 2).sum())
            if solution.min() >= 0 and error < least:
                best, least = terms[:, chosen] @ solution, error
    return best
