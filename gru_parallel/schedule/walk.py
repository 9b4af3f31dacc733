"""Run the lists of a schedule to their end, without time: an order in which it all can happen."""

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.action import Action
from gru_parallel.schedule.draw import draw_lists
from gru_parallel.schedule.schedule import Schedule, needs


def walk(schedule: Schedule) -> tuple[Action, ...]:
    """Merge the stages' lists into one order in which every action follows all that it needs.

    Args:
        schedule: lowered or not.

    Returns:
        Every action, each stage's in the order of its list.

    Raises:
        ScheduleError: the stages come to wait for each other, or for what is not in the schedule;
            the grid marks what each of them is stuck at.
    """
    done: dict[Action, None] = {}
    places = [0] * len(schedule.actions)
    n_done_before = -1
    while len(done) > n_done_before:
        n_done_before = len(done)
        for stage, actions in enumerate(schedule.actions):
            while places[stage] < len(actions) and _can_run(actions[places[stage]], schedule, done):
                done[actions[places[stage]]] = None
                places[stage] += 1

    stuck = {
        (stage, place) for stage, place in enumerate(places) if place < len(schedule.actions[stage])
    }
    if stuck:
        raise ScheduleError(_deadlock(schedule, stuck, done))
    return tuple(done)


def _can_run(action: Action, schedule: Schedule, done: dict[Action, None]) -> bool:
    return all(needed in done for needed in needs(action, schedule))


def _deadlock(schedule: Schedule, stuck: set[tuple[int, int]], done: dict[Action, None]) -> str:
    waits = []
    for stage, place in sorted(stuck):
        action = schedule.actions[stage][place]
        missing = [str(needed) for needed in needs(action, schedule) if needed not in done]
        waits.append(f"{action} waits for {' and '.join(missing)}")
    return (
        f"{schedule}: deadlock, no stage can go on: {'; '.join(waits)}.\n"
        f"{draw_lists(schedule.actions, stuck)}"
    )
