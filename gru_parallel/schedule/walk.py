"""Run the lists of a schedule to their end, without time: one order in which all can happen."""

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.action import Action
from gru_parallel.schedule.draw import draw_lists
from gru_parallel.schedule.schedule import Schedule, needs


def walk(schedule: Schedule) -> tuple[Action, ...]:
    """Merge the stages' lists into one order in which every action follows all that it needs.

    Args:
        schedule: lowered or not.

    Returns:
        Every action, those of each stage in the order of its list.

    Raises:
        ScheduleError: the stages wait for each other, or for an action that is not in the schedule;
            the grid marks where each of them is stuck.
    """
    done: dict[Action, None] = {}
    next_of = [0] * len(schedule.actions)
    n_done_before = -1
    while len(done) > n_done_before:
        n_done_before = len(done)
        for stage, actions in enumerate(schedule.actions):
            while next_of[stage] < len(actions) and _can_run(
                actions[next_of[stage]], schedule, done
            ):
                done[actions[next_of[stage]]] = None
                next_of[stage] += 1

    stuck = {
        (stage, index)
        for stage, index in enumerate(next_of)
        if index < len(schedule.actions[stage])
    }
    if stuck:
        raise ScheduleError(_deadlock(schedule, stuck, done))
    return tuple(done)


def _can_run(action: Action, schedule: Schedule, done: dict[Action, None]) -> bool:
    return all(needed in done for needed in needs(action, schedule))


def _deadlock(schedule: Schedule, stuck: set[tuple[int, int]], done: dict[Action, None]) -> str:
    waits = []
    for stage, index in sorted(stuck):
        action = schedule.actions[stage][index]
        missing = [str(needed) for needed in needs(action, schedule) if needed not in done]
        waits.append(f"{action} waits for {' and '.join(missing)}")
    return (
        f"{schedule}: deadlock, no stage can continue: {'; '.join(waits)}.\n"
        f"{draw_lists(schedule.actions, stuck)}"
    )
