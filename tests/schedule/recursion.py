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
    # The results that cross in one direction, in order, each with the action that gives it.
    given = [
        [(a, result) for a in stage if a.op is op for result in gives_out(a, schedule)]
        for stage in schedule.actions
        for op in (Op.F, Op.B)
    ]
    giver = {result: action for results in given for action, result in results}
    earlier = {
        later: earlier for results in given for (_, earlier), (_, later) in pairwise(results)
    }
    times: Times = {}

    def crossing_ms(result: Action) -> float:
        """When a result begins to cross: after the one before."""
        begin_ms = end_ms(giver[result])
        if result not in earlier:
            return begin_ms
        before = earlier[result]
        return max(begin_ms, crossing_ms(before) + link_ms(giver[before]))

    def end_ms(action: Action) -> float:
        if action not in times:
            start_ms = end_ms(before[action]) if action in before else 0.0
            for needed in needs(action, schedule):
                way = 1 if needed.op is Op.F else -1
                crosses = needed.op.is_compute and needed.stage + way == action.stage
                start_ms = max(start_ms, end_ms(needed))
                if crosses:
                    result = action._replace(stage=needed.stage)
                    start_ms = max(start_ms, crossing_ms(result) + hand_over_ms(needed))
            times[action] = start_ms, start_ms + cost_ms(action)
        return times[action][1]

    for action in schedule.all_actions:
        end_ms(action)
    return times


def random_times(seed: int, at_least: float = 0.0) -> Callable[[Action], float]:
    """Times by action, some of them equal; their sums are exact in any order."""
    random = Random(seed)
    known: dict[Action, float] = {}

    def time_ms(action: Action) -> float:
        if action not in known:
            known[action] = at_least + random.choice([0.0, 0.5, 1.0, random.randrange(1024) / 1024])
        return known[action]

    return time_ms
