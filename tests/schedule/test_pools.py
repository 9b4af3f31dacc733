"""Stages that share processors wait for a free one; the one that was ready first takes it."""

from itertools import pairwise
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule import (
    Action,
    Op,
    Pool,
    Schedule,
    build_schedule,
    forward_only,
    lower,
    needs,
    simulate,
)
from tests.schedule.family import schedules
from tests.schedule.recursion import random_times, times_of
from tests.schedule.slots import draw_slots

seeds = st.integers(0, 1000)


def both(n_slots: int) -> tuple[Pool, ...]:
    return (Pool(frozenset({0, 1}), n_slots),)


def test_two_stages_on_one_processor_take_turns_and_the_first_stage_wins_a_tie() -> None:
    timeline = simulate(build_schedule("gpipe", 2, 1, 2), lambda _: 1.0, pools=both(1))
    assert draw_slots(timeline) == dedent("""\
        stage 0 | 0F0.0 0F0.1                   0B0.1       0B0.0
        stage 1 |             1F0.0 1F0.1 1B0.1       1B0.0""")


def test_the_action_that_was_ready_first_gets_the_processor() -> None:
    def cost_ms(action: Action) -> float:
        return 1.0 if action.stage == 0 else 1.5

    schedule = forward_only(build_schedule("gpipe", 3, 1, 3))
    times = times_of(simulate(schedule, cost_ms, pools=(Pool(frozenset({1, 2}), 1),)))
    # At 4 ms, stage 2 has been ready for 1.5 ms, and stage 1 has only just become so.
    assert times[Action.parse("1F0.1")] == (2.5, 4.0)
    assert times[Action.parse("2F0.0")] == (4.0, 5.5)
    assert times[Action.parse("1F0.2")] == (5.5, 7.0)


def test_transfers_take_no_processor() -> None:
    schedule = lower(forward_only(build_schedule("gpipe", 2, 1, 2)))
    # Stage 1 computes the first cell while stage 0 sends the second.
    timeline = simulate(
        schedule, lambda action: 0.0 if action.op is Op.RECV_F else 1.0, pools=both(1)
    )
    assert timeline.step_ms == 5.0


def test_pools_are_apart_from_each_other_and_from_other_stages() -> None:
    schedule = forward_only(build_schedule("gpipe", 5, 1, 40))
    pools = (Pool(frozenset({0, 1}), 1), Pool(frozenset({3, 4}), 1))
    alone = simulate(schedule, lambda _: 1.0).step_ms
    shared = simulate(schedule, lambda _: 1.0, pools=pools).step_ms
    assert alone == 44.0
    # Each pool has 80 ms of work, and they work at the same time.
    assert 80.0 < shared < 90.0


@settings(deadline=None)
@given(schedules(), st.booleans(), seeds)
def test_with_a_slot_for_each_stage_nothing_waits_for_one(
    schedule: Schedule, lowered: bool, seed: int
) -> None:
    schedule = lower(schedule) if lowered else schedule
    every_stage = Pool(frozenset(range(schedule.n_stages)), schedule.n_stages)
    cost_ms = random_times(seed)
    hand_over_ms = None if schedule.is_lowered else random_times(seed + 1)
    link_ms = None if schedule.is_lowered else random_times(seed + 2)
    shared = simulate(schedule, cost_ms, hand_over_ms, (every_stage,), link_ms)
    alone = simulate(schedule, cost_ms, hand_over_ms, link_ms=link_ms)
    assert times_of(shared) == times_of(alone)


@settings(deadline=None)
@given(schedules(), st.integers(1, 3), seeds)
def test_a_slot_is_never_used_twice_and_never_idle_while_an_action_waits(
    schedule: Schedule, n_slots: int, seed: int
) -> None:
    pool = Pool(frozenset(range(schedule.n_stages)), n_slots)
    timeline = simulate(schedule, random_times(seed, at_least=0.1), pools=(pool,))
    times = times_of(timeline)
    assert times.keys() == set(schedule.all_actions)
    before = {later: earlier for stage in schedule.actions for earlier, later in pairwise(stage)}

    def n_running(at_ms: float) -> int:
        return sum(start_ms <= at_ms < end_ms for start_ms, end_ms in times.values())

    waited: list[tuple[float, int, float]] = []
    for action, (start_ms, _) in times.items():
        needed = [*needs(action, schedule), *([before[action]] if action in before else [])]
        ready_ms = max((times[each][1] for each in needed), default=0.0)
        assert start_ms >= ready_ms
        assert n_running(start_ms) <= n_slots
        moments = (other for other, _ in times.values() if ready_ms <= other < start_ms)
        if start_ms > ready_ms:
            assert all(n_running(at_ms) == n_slots for at_ms in (ready_ms, *moments))
        waited.append((ready_ms, action.stage, start_ms))
    starts_ms = [start_ms for _, _, start_ms in sorted(waited)]
    assert starts_ms == sorted(starts_ms)


@settings(deadline=None)
@given(schedules(), seeds)
def test_one_processor_for_all_is_never_idle(schedule: Schedule, seed: int) -> None:
    cost_ms = random_times(seed)
    pool = Pool(frozenset(range(schedule.n_stages)), 1)
    step_ms = simulate(schedule, cost_ms, pools=(pool,)).step_ms
    assert step_ms == pytest.approx(sum(map(cost_ms, schedule.all_actions)))


def test_a_stage_in_two_pools_is_refused() -> None:
    schedule = build_schedule("gpipe", 2, 1, 1)
    with pytest.raises(ScheduleError, match="stage 1 is in two pools"):
        simulate(schedule, lambda _: 1.0, pools=(*both(1), Pool(frozenset({1}), 1)))


def test_a_pool_without_a_slot_is_refused() -> None:
    with pytest.raises(ScheduleError, match="n_slots >= 1"):
        Pool(frozenset({0}), 0)
