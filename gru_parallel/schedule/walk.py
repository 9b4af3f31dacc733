"""Run the lists of a schedule to their end, without time: one order in which all can happen."""

from itertools import accumulate

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.draw import draw_lists
from gru_parallel.schedule.schedule import Schedule, needs


def walk(schedule: Schedule) -> list[int]:
    """Merge the stages' lists into one order in which every action follows all that it needs.

    Args:
        schedule: lowered or not.

    Returns:
        The places in `Schedule.all_actions` of every action, those of each stage in the order of
        its list.

    Raises:
        ScheduleError: the stages wait for each other, or for an action that is not in the schedule;
            the grid marks where each of them is stuck.
    """
    waits = schedule.waits
    ends = list(accumulate(map(len, schedule.actions)))
    next_places = [0, *ends[:-1]]
    # The last entry is that of NOWHERE, which is never done.
    is_done = bytearray(len(waits) + 1)
    order: list[int] = []
    n_done_before = -1
    while len(order) > n_done_before:
        n_done_before = len(order)
        for stage, end in enumerate(ends):
            place = next_places[stage]
            while place < end and all(map(is_done.__getitem__, waits[place])):
                is_done[place] = True
                order.append(place)
                place += 1
            next_places[stage] = place

    if len(order) < len(waits):
        n_left = [end - place for place, end in zip(next_places, ends, strict=True)]
        raise ScheduleError(_deadlock(schedule, n_left))
    return order


def _deadlock(schedule: Schedule, n_left: list[int]) -> str:
    lists = list(zip(schedule.actions, n_left, strict=True))
    done = {action for actions, left in lists for action in actions[: len(actions) - left]}
    stuck = {stage: len(actions) - left for stage, (actions, left) in enumerate(lists) if left}
    waits = []
    for stage, index in stuck.items():
        action = schedule.actions[stage][index]
        missing = [str(needed) for needed in needs(action, schedule) if needed not in done]
        waits.append(f"{action} waits for {' and '.join(missing)}")
    return (
        f"{schedule}: deadlock, no stage can continue: {'; '.join(waits)}.\n"
        f"{draw_lists(schedule.actions, set(stuck.items()))}"
    )
