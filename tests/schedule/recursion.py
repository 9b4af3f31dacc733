"""When the actions of a schedule run, by plain recursion: what a simulation has to come to."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

from gru_parallel.schedule import Action, Op, Schedule, Timeline, needs
from gru_parallel.schedule.schedule import gives_out

Times = dict[Action, tuple[float, float]]  # start and end, in ms


def times_of(timeline: Timeline) -> Times:
    return {event.action: (event.start_ms, event.end_ms) for event in timeline.events}


def plain_recursion(
    schedule: Schedule,
    cost_ms: Callable[[Action], float],
    hand_over_ms: Callable[[Action], float] = lambda _: 0.0,
    link_ms: Callable[[Action], float] = lambda _: 0.0,
) -> Times:
    before = {later: earlier for stage in schedule.actions for earlier, later in pairwise(stage)}
    given_before = {
        later: earlier
        for stage in schedule.actions
        for op in (Op.F, Op.B)
        for earlier, later in pairwise(a for a in stage if a.op is op and gives_out(a, schedule))
    }
    times: Times = {}

    def crossing_ms(action: Action) -> float:
        """When the result of an action begins to cross: after that of the one before."""
        if action not in given_before:
            return end_ms(action)
        earlier = given_before[action]
        return max(end_ms(action), crossing_ms(earlier) + link_ms(earlier))

    def end_ms(action: Action) -> float:
        if action not in times:
            start_ms = end_ms(before[action]) if action in before else 0.0
            for needed in needs(action, schedule):
                way = 1 if needed.op is Op.F else -1
                crosses = needed.op.is_compute and needed.stage + way == action.stage
                crossed_ms = crossing_ms(needed) + hand_over_ms(needed) if crosses else 0.0
                start_ms = max(start_ms, end_ms(needed), crossed_ms)
            times[action] = start_ms, start_ms + cost_ms(action)
        return times[action][1]

    for action in schedule.all_actions:
        end_ms(action)
    return times


def random_times(seed: int, at_least: float = 0.0) -> Callable[[Action], float]:
    """Times by action, some of them equal."""
    random = Random(seed)
    known: dict[Action, float] = {}

    def time_ms(action: Action) -> float:
        if action not in known:
            known[action] = at_least + random.choice([0.0, 0.5, 1.0, random.random()])
        return known[action]

    return time_ms
