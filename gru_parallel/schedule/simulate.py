"""Run a schedule on given costs: when each action would start and end."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush, heapreplace
from itertools import accumulate, groupby
from operator import attrgetter

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule.action import COMPUTE, Action, Op
from gru_parallel.schedule.schedule import Schedule, gives_out
from gru_parallel.schedule.timeline import Event, Timeline
from gru_parallel.schedule.walk import walk

# Looked up here, because the innermost loop asks for them.
_F, _B = Op.F, Op.B


@dataclass(frozen=True)
class Pool:
    """Processors that some stages share.

    Attributes:
        stages: that compute on them.
        n_slots: how many of these stages can compute at the same time, at least 1.
    """

    stages: frozenset[int]
    n_slots: int

    def __post_init__(self) -> None:
        if self.n_slots < 1:
            raise ScheduleError(f"{self} can run no action; give n_slots >= 1.")


def simulate(
    schedule: Schedule,
    cost_ms: Callable[[Action], float],
    hand_over_ms: Callable[[Action], float] | None = None,
    pools: Sequence[Pool] = (),
    link_ms: Callable[[Action], float] | None = None,
) -> Timeline:
    """Compute when each action runs: as soon as its stage is free and all it needs is there.

    In a lowered schedule, a send or receive occupies its stage for its cost, so give the transfer's
    time to one of the two, or 0 to both for transfers that cost nothing.

    Args:
        schedule: a valid schedule, lowered or not.
        cost_ms: how long an action takes, in ms.
        hand_over_ms: for a schedule that is not lowered, how long the result of an F or B takes to
            the neighbour that waits for it, in ms, while both stages go on computing; None for no
            time. A stage with a barrier hands over the results of all chunks with its last action
            on the micro-batch; each takes what that one is said to take.
        pools: the stages that share processors, where an action waits for a free slot. The action
            that was ready first takes it; of several, that of the first stage. Every other stage
            has a processor of its own.
        link_ms: how much of a hand-over occupies the link between the two stages, in ms. Results
            that cross one boundary in one direction follow one another: the next one begins to
            cross when the link is free. None for links that carry any number at once.

    Returns:
        The timeline, from 0 ms, events by their start.

    Raises:
        ScheduleError: the schedule cannot finish, a stage is in two pools, or there is
            `hand_over_ms` although the schedule has its sends and receives.
        ValueError: there is `link_ms` and no `hand_over_ms` that it is a part of.
    """
    if link_ms is not None and hand_over_ms is None:
        raise ValueError("link_ms is a part of hand_over_ms, which is None; give both.")
    if hand_over_ms is not None and schedule.is_lowered:
        raise ScheduleError(
            f"{schedule} has sends and receives, which take their time by cost_ms; give"
            " hand_over_ms only with a schedule that is not lowered."
        )
    order = walk(schedule)
    run = _Run(schedule, cost_ms, hand_over_ms, link_ms)
    if pools:
        _share(schedule, run, pools)
    else:
        for place in order:
            run.add(place, run.ready_ms(place))
    return Timeline(schedule.n_stages, tuple(sorted(run.events, key=attrgetter("start_ms"))))


class _Run:
    """What has run so far, and when.

    Args:
        schedule: whose actions run.
        cost_ms: see `simulate`.
        hand_over_ms: see `simulate`.
        link_ms: see `simulate`.
    """

    def __init__(
        self,
        schedule: Schedule,
        cost_ms: Callable[[Action], float],
        hand_over_ms: Callable[[Action], float] | None,
        link_ms: Callable[[Action], float] | None,
    ) -> None:
        self.events: list[Event] = []
        self._schedule = schedule
        self._actions, self._waits = schedule.all_actions, schedule.waits
        self._cost_ms, self._hand_over_ms, self._link_ms = cost_ms, hand_over_ms, link_ms
        self._end_ms = [0.0] * len(self._actions)
        # When results are there on the neighbour.
        self._there_ms = self._end_ms if hand_over_ms is None else [0.0] * len(self._actions)
        self._free_ms = [0.0] * schedule.n_stages
        self._last_stage = schedule.n_stages - 1
        # The stages that hand over several results at once.
        self._queueing = schedule.barriers if link_ms is not None else frozenset()
        # When what a stage hands over next can begin to cross, forward and backward.
        self._link_free_ms = [0.0] * schedule.n_stages, [0.0] * schedule.n_stages

    def ready_ms(self, place: int) -> float:
        """When the stage of the action at `place` is free and all that it needs is there."""
        stage = self._actions[place].stage
        ready_ms = self._free_ms[stage]
        for needed in self._waits[place]:
            given_by, op, _ = self._actions[needed]
            # What goes round the ring instead only says that a cell has left the pipeline.
            is_neighbour = given_by == (stage - 1 if op is _F else stage + 1)
            there_ms = self._there_ms[needed] if is_neighbour else self._end_ms[needed]
            if given_by in self._queueing and is_neighbour:
                there_ms += self._queued_ms(needed, self._actions[place].chunk)
            if there_ms > ready_ms:
                ready_ms = there_ms
        return ready_ms

    def add(self, place: int, start_ms: float) -> float:
        """Run the action at `place`, which comes next on its stage, and return when it ends."""
        action = self._actions[place]
        stage, op, _ = action
        end_ms = start_ms + self._cost_ms(action)
        self._end_ms[place] = self._free_ms[stage] = end_ms
        self.events.append(Event(action, start_ms, end_ms))
        if self._hand_over_ms is not None:
            if op is _F and stage != self._last_stage:
                self._hand_over(place, self._link_free_ms[0])
            elif op is _B and stage != 0:
                self._hand_over(place, self._link_free_ms[1])
        return end_ms

    def _hand_over(self, place: int, free_ms: list[float]) -> None:
        """Say when the first result is there on the neighbour: once those before have crossed."""
        action, begin_ms = self._actions[place], self._end_ms[place]
        stage = action.stage
        if stage in self._schedule.barriers and not gives_out(action, self._schedule):
            return
        if self._link_ms is not None:
            if free_ms[stage] > begin_ms:
                begin_ms = free_ms[stage]
            n_results = self._schedule.n_chunks if stage in self._queueing else 1
            free_ms[stage] = begin_ms + n_results * self._link_ms(action)
        assert self._hand_over_ms is not None
        self._there_ms[place] = begin_ms + self._hand_over_ms(action)

    def _queued_ms(self, place: int, chunk: int) -> float:
        """How long the result of a chunk waits for those that a barrier hands over before it."""
        given = self._actions[place]
        n_before = chunk if given.op is _F else self._schedule.n_chunks - 1 - chunk
        assert self._link_ms is not None
        return n_before * self._link_ms(given)


def _share(schedule: Schedule, run: _Run, pools: Sequence[Pool]) -> None:
    """Run all actions, each in the order in which they become ready.

    No action becomes ready before one that has already run, so each pool's slots are taken first
    come, first served.
    """
    actions, waits = schedule.all_actions, schedule.waits
    slots_of = _slots_of(pools)
    ends = list(accumulate(map(len, schedule.actions)))
    next_places = [0, *ends[:-1]]
    ready: list[tuple[float, int]] = []  # a heap: from when on, and the stage
    waiting: dict[int, list[int]] = defaultdict(list)  # the stages, by the place they wait for

    def enter(stage: int) -> None:
        place = next_places[stage]
        if place == ends[stage]:
            return
        for needed in waits[place]:
            if needed >= next_places[actions[needed].stage]:
                waiting[needed].append(stage)
                return
        heappush(ready, (run.ready_ms(place), stage))

    for stage in range(schedule.n_stages):
        enter(stage)
    while ready:
        ready_ms, stage = heappop(ready)
        place = next_places[stage]
        next_places[stage] += 1
        slots_ms = slots_of.get(stage)
        if slots_ms is None or actions[place].op not in COMPUTE:
            run.add(place, ready_ms)
        else:
            heapreplace(slots_ms, run.add(place, max(ready_ms, slots_ms[0])))
        for entering in (stage, *waiting.pop(place, ())):
            enter(entering)


def _slots_of(pools: Sequence[Pool]) -> dict[int, list[float]]:
    """For each stage of a pool, when each of the pool's slots is free: a heap that they share."""
    slots_of: dict[int, list[float]] = {}
    for pool in pools:
        slots_ms = [0.0] * pool.n_slots
        for stage in pool.stages:
            if stage in slots_of:
                raise ScheduleError(f"stage {stage} is in two pools; give each stage to one.")
            slots_of[stage] = slots_ms
    return slots_of


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
