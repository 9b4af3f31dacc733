from collections.abc import Callable
from textwrap import dedent

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
    draw_lists,
    forward_only,
    lower,
    simulate,
)

sizes = st.integers(min_value=1, max_value=5)


def test_receives_stand_right_before_their_use_and_sends_right_after_their_making() -> None:
    lowered = lower(build_schedule("gpipe", 3, 1, 1))
    assert draw_lists(lowered.actions) == dedent("""\
        stage 0 | 0F0.0      0SEND_F0.0 0RECV_B0.0 0B0.0
        stage 1 | 1RECV_F0.0 1F0.0      1SEND_F0.0 1RECV_B0.0 1B0.0 1SEND_B0.0
        stage 2 | 2RECV_F0.0 2F0.0      2B0.0      2SEND_B0.0""")


def test_without_backward_only_outputs_are_handed_over() -> None:
    lowered = lower(forward_only(build_schedule("gpipe", 2, 1, 2)))
    assert draw_lists(lowered.actions) == dedent("""\
        stage 0 | 0F0.0      0SEND_F0.0 0F0.1      0SEND_F0.1
        stage 1 | 1RECV_F0.0 1F0.0      1RECV_F0.1 1F0.1""")


def test_one_at_a_time_closes_the_ring_in_both_directions() -> None:
    lowered = lower(build_schedule("naive", 2, 1, 1))
    assert draw_lists(lowered.actions) == dedent("""\
        stage 0 | 0F0.0      0SEND_F0.0 0RECV_F0.0 0RECV_B0.0 0B0.0      0SEND_B0.0
        stage 1 | 1RECV_F0.0 1F0.0      1SEND_F0.0 1B0.0      1SEND_B0.0 1RECV_B0.0""")


def test_the_weights_gradient_crosses_to_no_other_stage(
    read_schedule: Callable[..., Schedule],
) -> None:
    lowered = lower(read_schedule("0F0.0 0B0.0 0W0.0", "1F0.0 1B0.0 1W0.0"))
    assert draw_lists(lowered.actions) == dedent("""\
        stage 0 | 0F0.0      0SEND_F0.0 0RECV_B0.0 0B0.0      0W0.0
        stage 1 | 1RECV_F0.0 1F0.0      1B0.0      1SEND_B0.0 1W0.0""")


@pytest.mark.parametrize("name", SCHEDULES)
def test_one_stage_alone_hands_nothing_over(name: str) -> None:
    schedule = build_schedule(name, 1, 2, 3)
    assert lower(schedule) == schedule


def test_a_schedule_is_lowered_once_only() -> None:
    lowered = lower(build_schedule("gpipe", 2, 1, 1))
    with pytest.raises(ScheduleError, match="lower it only once"):
        lower(lowered)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(sorted(SCHEDULES)), sizes, sizes, sizes, st.sampled_from([1.0, 2.0]))
def test_hand_overs_that_cost_nothing_move_no_computation(
    name: str, n_stages: int, n_micro_batches: int, n_chunks: int, backward_ms: float
) -> None:
    def cost_ms(action: Action) -> float:
        return {Op.F: 1.0, Op.B: backward_ms}.get(action.op, 0.0)

    schedule = build_schedule(name, n_stages, n_micro_batches, n_chunks)
    lowered_events = simulate(lower(schedule), cost_ms).events
    computed = {event for event in lowered_events if event.action.op.is_compute}
    assert computed == set(simulate(schedule, cost_ms).events)
