"""What a stage keeps for B and W: activations of its cells, or what it computes them from."""

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


def recomputed_bytes(costs: Sequence[LayerCost], grid: Grid, n_alive: int, n_waiting: int) -> int:
    """Return what is kept of cells that are alive at once if B computes the rest again.

    Each section keeps its inputs, and in one direction of time the state before each cell; one
    section at a time has the activations of a cell, of those that wait for W, or of the sequences
    of a micro-batch.

    Args: see `all_activation_bytes`.
    """
    n_cells = grid.n_micro_batches * grid.n_chunks
    sections = _sections(costs)
    kept = sum(section.input_bytes * n_alive // n_cells for section in sections)
    one_way = [section for section in sections if not section.is_bidirectional]
    states = sum(section.state_bytes * n_alive // grid.n_micro_batches for section in one_way)
    n_computed = max(1, n_waiting)
    at_once = (
        section.activation_bytes // grid.n_micro_batches
        if section.is_bidirectional
        else (section.activation_bytes * n_computed + section.waiting_bytes * n_waiting) // n_cells
        for section in sections
    )
    return kept + states + max(at_once)


def _sections(costs: Sequence[LayerCost]) -> list[LayerCost]:
    """Add up the blocks that run as one section: cut before a barrier, and after both ways."""
    sections: list[LayerCost] = []
    for cost in costs:
        if sections and not cost.is_barrier and not sections[-1].is_bidirectional:
            sections[-1] = sections[-1] + cost
        else:
            sections.append(cost)
    return sections
