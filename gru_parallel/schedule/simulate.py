"""Run a schedule on given costs: when each action would start and end."""

from collections.abc import Callable
from functools import cache
from itertools import groupby

from gru_parallel.schedule.action import Action
from gru_parallel.schedule.schedule import Schedule, needs
from gru_parallel.schedule.timeline import Event, Timeline
from gru_parallel.schedule.walk import walk


def simulate(schedule: Schedule, cost_ms: Callable[[Action], float]) -> Timeline:
    """Compute when each action runs: as soon as its stage is free and all it needs is done.

    A send or receive occupies its stage for its cost, so give the transfer's time to one of the
    two, or 0 to both for transfers that cost nothing.

    Args:
        schedule: a valid schedule, lowered or not.
        cost_ms: how long an action takes, in ms.

    Returns:
        The timeline, from 0 ms, events by their start.

    Raises:
        ScheduleError: the schedule cannot finish.
    """
    free_ms = [0.0] * schedule.n_stages
    events: dict[Action, Event] = {}
    for action in walk(schedule):
        ready_ms = (events[needed].end_ms for needed in needs(action, schedule))
        start_ms = max(free_ms[action.stage], *ready_ms, 0.0)
        free_ms[action.stage] = start_ms + cost_ms(action)
        events[action] = Event(action, start_ms, free_ms[action.stage])
    by_start = sorted(events.values(), key=lambda event: event.start_ms)
    return Timeline(schedule.n_stages, tuple(by_start))


@cache
def turns(schedule: Schedule) -> tuple[tuple[int, tuple[Action, ...]], ...]:
    """Order what all stages do, for one that does it all: as if all F, B and W took as long.

    Returns:
        Stages, by number, with the actions that are next there; no action comes before one that it
        needs.
    """
    events = simulate(schedule, lambda action: float(action.op.is_compute)).events
    actions = (event.action for event in events)
    by_stage = groupby(actions, key=lambda action: action.stage)
    return tuple((stage, tuple(of_stage)) for stage, of_stage in by_stage)
