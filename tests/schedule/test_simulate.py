from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule import (
    SCHEDULES,
    Action,
    Op,
    Schedule,
    build_schedule,
    lower,
    needs,
    simulate,
    turns,
)
from tests.schedule.family import schedules
from tests.schedule.recursion import plain_recursion, random_times, times_of

GRIDS = tuple(product((1, 2, 3, 4, 7), (1, 2, 3, 5, 8), (1, 2, 3, 6)))  # (S, M, C)


def costs(backward_ms: float, send_ms: float = 0.0) -> Callable[[Action], float]:
    """F takes 1 ms, B and the sends as given, receives nothing."""

    def cost_ms(action: Action) -> float:
        if action.op.is_send:
            return send_ms
        return {Op.F: 1.0, Op.B: backward_ms}.get(action.op, 0.0)

    return cost_ms


@pytest.mark.parametrize("backward_ms", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ["gpipe", "one_f_one_b"])
def test_the_bubble_of_equal_stages_is_that_of_the_formula(name: str, backward_ms: float) -> None:
    for n_stages, n_micro_batches, n_chunks in GRIDS:
        schedule = build_schedule(name, n_stages, n_micro_batches, n_chunks)
        expected = (n_stages - 1) / (n_micro_batches * n_chunks + n_stages - 1)
        bubble = simulate(schedule, costs(backward_ms)).bubble
        assert bubble == pytest.approx(expected, abs=1e-12), str(schedule)


@pytest.mark.parametrize("backward_ms", [1.0, 2.0])
def test_naive_leaves_all_stages_but_one_idle(backward_ms: float) -> None:
    for n_stages, n_micro_batches, n_chunks in GRIDS:
        schedule = build_schedule("naive", n_stages, n_micro_batches, n_chunks)
        expected = (n_stages - 1) / n_stages
        bubble = simulate(schedule, costs(backward_ms)).bubble
        assert bubble == pytest.approx(expected, abs=1e-12), str(schedule)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_stage_keeps_as_many_cells_as_documented(name: str) -> None:
    for n_stages, n_micro_batches, n_chunks in GRIDS:
        timeline = simulate(build_schedule(name, n_stages, n_micro_batches, n_chunks), costs(1.0))
        for stage in range(n_stages):
            n_cells = n_micro_batches * n_chunks
            kept = {
                "gpipe": n_cells,
                "one_f_one_b": min(n_micro_batches, n_stages - stage) * n_chunks,
                # Some cells more, whose W fill the bubble.
                "zero_bubble": min(n_cells, (n_stages - stage) * n_chunks + stage),
                "naive": n_chunks,
            }
            assert timeline.peak_activations(stage) == kept[name]


def test_1f1b_keeps_fewer_cells_than_gpipe_when_micro_batches_outnumber_stages() -> None:
    for n_stages, n_micro_batches, n_chunks in GRIDS:
        if n_micro_batches <= n_stages:
            continue
        one_f_one_b, gpipe = (
            simulate(build_schedule(name, n_stages, n_micro_batches, n_chunks), costs(1.0))
            for name in ("one_f_one_b", "gpipe")
        )
        for stage in range(n_stages):
            assert one_f_one_b.peak_activations(stage) < gpipe.peak_activations(stage)


def test_an_action_starts_as_soon_as_its_stage_is_free_and_its_needs_are_done() -> None:
    schedule = build_schedule("one_f_one_b", 3, 4, 2)
    timeline = simulate(schedule, lambda action: 1.0 + action.stage)
    end_ms = {event.action: event.end_ms for event in timeline.events}
    for stage in range(3):
        free_ms = 0.0
        for event in timeline.stage_events(stage):
            ready_ms = max((end_ms[n] for n in needs(event.action, schedule)), default=0.0)
            assert event.start_ms == max(free_ms, ready_ms)
            free_ms = event.end_ms


@settings(deadline=None)
@given(schedules(), st.booleans(), st.integers(0, 1000))
def test_simulation_is_the_plain_recursion(schedule: Schedule, lowered: bool, seed: int) -> None:
    schedule = lower(schedule) if lowered else schedule
    cost_ms, hand_over_ms = random_times(seed), random_times(seed + 1)
    assert times_of(simulate(schedule, cost_ms)) == plain_recursion(schedule, cost_ms)
    if not schedule.is_lowered:
        times = times_of(simulate(schedule, cost_ms, hand_over_ms))
        assert times == plain_recursion(schedule, cost_ms, hand_over_ms)
        link_ms = random_times(seed + 2)
        times = times_of(simulate(schedule, cost_ms, hand_over_ms, link_ms=link_ms))
        assert times == plain_recursion(schedule, cost_ms, hand_over_ms, link_ms)


def test_a_hand_over_delays_the_neighbour_and_occupies_no_stage() -> None:
    timeline = simulate(build_schedule("gpipe", 2, 1, 3), lambda _: 1.0, lambda _: 0.5)
    # Once forward and once backward, while the other cells cross behind the computation.
    assert timeline.step_ms == 2 * (3 + 1) + 2 * 0.5
    assert [timeline.busy_ms(stage) for stage in range(2)] == [6.0, 6.0]


def test_a_link_carries_one_result_after_another_in_each_direction() -> None:
    schedule = build_schedule("gpipe", 2, 1, 3)
    times = times_of(simulate(schedule, lambda _: 1.0, lambda _: 2.5, link_ms=lambda _: 2.0))
    # Stage 0 ends them at 1, 2 and 3 ms; they leave at 1, 3 and 5 ms.
    starts = [times[Action.parse(f"1F0.{chunk}")][0] for chunk in range(3)]
    assert starts == [3.5, 5.5, 7.5]
    # Back they have another link, free since the beginning.
    starts = [times[Action.parse(f"0B0.{chunk}")][0] for chunk in (2, 1, 0)]
    assert starts == [12.0, 14.0, 16.0]


def test_all_chunks_of_a_barrier_cross_one_after_another_after_its_last_action() -> None:
    schedule = build_schedule("gpipe", 2, 1, 3, barriers=frozenset({0}))
    times = times_of(simulate(schedule, lambda _: 1.0, lambda _: 2.5, link_ms=lambda _: 2.0))
    starts = [times[Action.parse(f"1F0.{chunk}")][0] for chunk in range(3)]
    assert starts == [3 + 2.5, 3 + 4.5, 3 + 6.5]
    # Stage 1 is none, and hands each B over as soon as it has ended.
    starts = [times[Action.parse(f"0B0.{chunk}")][0] for chunk in (2, 1, 0)]
    assert starts == [11.5 + 2.5, 11.5 + 4.5, 11.5 + 6.5]


def test_the_time_on_a_link_is_a_part_of_the_hand_over() -> None:
    with pytest.raises(ValueError, match="link_ms is a part of hand_over_ms"):
        simulate(build_schedule("gpipe", 2, 1, 1), costs(1.0), link_ms=lambda _: 1.0)


def asked_for(schedule: Schedule) -> str:
    """The actions whose hand-overs a simulation asks for."""
    asked: dict[str, None] = {}

    def hand_over_ms(action: Action) -> float:
        asked[str(action)] = None
        return 1.0

    simulate(schedule, lambda _: 1.0, hand_over_ms)
    return " ".join(sorted(asked))


def test_a_barrier_hands_over_with_its_last_action_on_the_micro_batch() -> None:
    assert asked_for(build_schedule("gpipe", 2, 1, 3, barriers=frozenset({0}))) == (
        "0F0.2 1B0.0 1B0.1 1B0.2"
    )
    assert asked_for(build_schedule("gpipe", 2, 1, 3, barriers=frozenset({1}))) == (
        "0F0.0 0F0.1 0F0.2 1B0.0"
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_only_what_goes_to_a_neighbour_takes_time_to_hand_over(name: str) -> None:
    # What leaves the pipeline, and W, goes nowhere.
    assert asked_for(build_schedule(name, 2, 1, 2)) == "0F0.0 0F0.1 1B0.0 1B0.1"


def test_a_lowered_schedule_has_its_transfers_already() -> None:
    with pytest.raises(ScheduleError, match="give hand_over_ms only with a schedule that is not"):
        simulate(lower(build_schedule("gpipe", 2, 1, 1)), costs(1.0), lambda _: 1.0)


def test_the_slowest_stage_sets_the_pace() -> None:
    schedule = build_schedule("gpipe", 3, 1, 10)
    timeline = simulate(schedule, lambda action: 3.0 if action.stage == 1 else 1.0)
    # 10 F and 10 B of the slow stage, once through the others before and after them, both ways
    assert timeline.step_ms == 10 * 3 + 10 * 3 + 2 * (1 + 1)


def test_a_transfer_delays_the_stage_that_waits_for_it() -> None:
    schedule = lower(build_schedule("gpipe", 2, 1, 1))
    assert simulate(schedule, costs(2.0, send_ms=0.5)).step_ms == 1 + 0.5 + 1 + 2 + 0.5 + 2


def test_events_come_by_their_start() -> None:
    starts = [
        event.start_ms
        for event in simulate(lower(build_schedule("gpipe", 3, 2, 2)), costs(2.0)).events
    ]
    assert starts == sorted(starts)


@pytest.mark.parametrize("name", SCHEDULES)
def test_one_stage_is_never_idle(name: str) -> None:
    timeline = simulate(build_schedule(name, 1, 3, 2), costs(2.0))
    assert (timeline.step_ms, timeline.bubble) == (18.0, 0.0)


def test_a_schedule_that_cannot_finish_is_refused(read_schedule: Callable[..., Schedule]) -> None:
    with pytest.raises(ScheduleError, match="deadlock"):
        simulate(read_schedule("0B0.0 0F0.0"), costs(1.0))


@pytest.mark.parametrize("name", SCHEDULES)
def test_turns_keep_each_list_and_come_after_what_they_need(name: str) -> None:
    for sizes in ((1, 1, 1), (2, 1, 4), (3, 2, 3), (4, 3, 2)):
        schedule = lower(build_schedule(name, *sizes))
        done: set[Action] = set()
        of_stages: list[list[Action]] = [[] for _ in schedule.actions]
        for stage, actions in turns(schedule):
            for action in actions:
                assert done.issuperset(needs(action, schedule)), str(action)
                done.add(action)
                of_stages[stage].append(action)
        assert [tuple(actions) for actions in of_stages] == [*schedule.actions]


def test_turns_let_the_second_stage_begin_before_the_first_has_ended() -> None:
    first, second, *_ = turns(lower(build_schedule("gpipe", 2, 1, 4)))
    assert (first[0], second[0]) == (0, 1)
    assert sum(action.op is Op.F for action in first[1]) < 4
