"""How many steps are run of each case, before and while it is measured."""

from __future__ import annotations

from benchmarks.gpu.cases import Way

EAGER_WARM_UP = 2
GRAPH_WARM_UP = 6
"""Three steps without a graph, the one that is recorded, and two that are replayed."""

MIN_STEPS, MAX_STEPS = 3, 20
RANK_STEPS = 5
"""Of ranks, which have to agree on a number."""

MEASURE_S = 0.7
"""Steps of a case are measured for so long; see `another`."""


def n_warm_up(way: Way) -> int:
    """Return how many steps go before those that are measured."""
    return EAGER_WARM_UP if way in (Way.NN_GRU, Way.EAGER, Way.PEER) else GRAPH_WARM_UP


def another(n_steps: int, left_s: float) -> bool:
    """Whether to measure another step after so many, with so much of the time left."""
    return n_steps < MIN_STEPS or (n_steps < MAX_STEPS and left_s > 0)
