"""How many cells a stage keeps the activations of, as it goes through its actions."""

from collections.abc import Iterator, Sequence

from gru_parallel.schedule.action import Action, Cell, Op


def cells_alive(actions: Sequence[Action], since: Op = Op.F) -> Iterator[tuple[int, bool, int]]:
    """Say where the number of cells changes that a stage keeps the activations of.

    A cell is kept from the start of its F to the end of its B, or of its W where there is one: W
    needs inputs and outputs of the cell's layers, and the gates' gradients that B leaves in place
    of the gates. A cell without B, as in evaluation, is not kept at all.

    Args:
        actions: F, B and W of a stage, in order.
        since: F; or B, for a stage that runs F again there and so keeps nothing from before, or to
            count the cells that are in B or wait for W.

    Yields:
        The index of an action, whether the number changes at its end or at its start, and the
        number of cells from then on.
    """
    last: dict[Cell, Op] = {cell: op for _, op, cell in actions}
    alive: set[Cell] = set()
    for index, (_, op, cell) in enumerate(actions):
        if last[cell] is Op.F:
            continue
        # The actions of a stage never overlap.
        if op is since:
            alive.add(cell)
            yield index, False, len(alive)
        if op is last[cell] and cell in alive:
            alive.remove(cell)
            yield index, True, len(alive)


def most_alive(actions: Sequence[Action], since: Op = Op.F) -> int:
    """Return the largest number of cells that a stage keeps at once; see `cells_alive`."""
    return max((n_alive for _, _, n_alive in cells_alive(actions, since)), default=0)
