"""Run the lists of a schedule to their end, without time: one order in which all can happen."""

from itertools import accumulate

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.draw import draw_lists
from gru_parallel.schedule.schedule import Schedule, needs


def walk(schedule: Schedule) -> tuple[int, ...]:
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
    order = schedule.order
    if len(order) < len(schedule.all_actions):
        done = set(order)
        ends = accumulate(map(len, schedule.actions))
        n_left = [
            sum(place not in done for place in range(end - len(actions), end))
            for actions, end in zip(schedule.actions, ends, strict=True)
        ]
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
