"""What a stage keeps for B and W: the activations of its cells."""

from collections.abc import Sequence
from functools import reduce
from operator import add

from gru_parallel.placement.cost import LayerCost
from gru_parallel.placement.grid import Grid


def all_activation_bytes(
    costs: Sequence[LayerCost], grid: Grid, n_alive: int, n_waiting: int
) -> int:
    """Return the activations of cells that are alive at once.

    Args:
        costs: of the stage's blocks, for a whole batch and window.
        grid: how these are cut.
        n_alive: the number of cells between F and the end of B, or of W.
        n_waiting: of these, at most so many between B and the end of W.
    """
    cost, n_cells = reduce(add, costs), grid.n_micro_batches * grid.n_chunks
    activations = cost.activation_bytes * n_alive + cost.waiting_bytes * n_waiting
    return activations // n_cells + cost.start_bytes * n_alive // grid.n_micro_batches
