"""Lowering: add the sends and receives to a schedule of F, B and W.

Knows between which stages; how tensors are transferred is up to the engines' channels.
"""

from collections.abc import Iterator
from dataclasses import replace

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.action import Action, Op
from gru_parallel.schedule.schedule import Schedule, gives_out


def lower(schedule: Schedule) -> Schedule:
    """Add the transfers between stages: a receive right before its use, a send right after.

    RECV_F comes right before F and SEND_F right after it, RECV_B before B and SEND_B after it,
    wherever there is a neighbour. A stage with a barrier sends all chunks of a micro-batch after
    the last of them. With one cell at a time, the stages form a ring: the last stage sends a signal
    after F and the first after B, and stage 0 (after F) and stage S-1 (after B) receive it, so that
    they continue when the cell has left the pipeline. Sends are assumed not to block.

    Args:
        schedule: a schedule of F, B and W.

    Returns:
        The same schedule with its transfers. One stage alone has none.

    Raises:
        ScheduleError: the schedule has been lowered before.
    """
    if schedule.is_lowered:
        raise ScheduleError(f"{schedule} has its sends and receives already; lower it only once.")
    return replace(
        schedule,
        actions=tuple(
            tuple(lowered for action in stage for lowered in _around(action, schedule))
            for stage in schedule.actions
        ),
    )


def computed_only(schedule: Schedule) -> Schedule:
    """Leave the transfers out of a schedule again."""
    of_stages = (tuple(a for a in stage if a.op.is_compute) for stage in schedule.actions)
    return replace(schedule, actions=tuple(of_stages))


def _around(action: Action, schedule: Schedule) -> Iterator[Action]:
    """One action of F, B or W between its transfers."""
    first, last = 0, schedule.n_stages - 1
    if first == last or action.op is Op.W:
        yield action
        return
    # F enters the pipeline on the first stage and leaves it on the last; B the other way round.
    if action.op is Op.F:
        entry, exit_, receive, send = first, last, Op.RECV_F, Op.SEND_F
    else:
        entry, exit_, receive, send = last, first, Op.RECV_B, Op.SEND_B

    if action.stage != entry:
        yield Action(action.stage, receive, action.cell)
    yield action
    if action.stage != exit_:
        for given in gives_out(action, schedule):
            yield Action(action.stage, send, given.cell)
    if _is_signalled(action, schedule):
        if action.stage == exit_:
            yield Action(action.stage, send, action.cell)
        if action.stage == entry:
            yield Action(action.stage, receive, action.cell)


def _is_signalled(action: Action, schedule: Schedule) -> bool:
    """Whether a signal over the ring tells that this cell has left the pipeline."""
    if not schedule.one_at_a_time:
        return False
    last = schedule.n_chunks - 1 if action.op is Op.F else 0
    return not schedule.barriers or action.chunk == last
