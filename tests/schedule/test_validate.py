from collections.abc import Callable
from dataclasses import replace
from textwrap import dedent

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule import (
    SCHEDULES,
    Action,
    Schedule,
    build_schedule,
    forward_only,
    lower,
    validate,
)

Read = Callable[..., Schedule]
names = st.sampled_from(sorted(SCHEDULES))
sizes = st.integers(min_value=1, max_value=6)


def error_of(schedule: Schedule) -> str:
    with pytest.raises(ScheduleError) as caught:
        validate(schedule)
    return str(caught.value)


@settings(deadline=None, max_examples=60)
@given(names, sizes, sizes, sizes, st.booleans(), st.booleans())
def test_every_schedule_is_valid_for_training_and_forward_only_lowered_or_not(
    name: str, n_stages: int, n_micro_batches: int, n_chunks: int, trains: bool, lowered: bool
) -> None:
    schedule = build_schedule(name, n_stages, n_micro_batches, n_chunks)
    schedule = schedule if trains else forward_only(schedule)
    validate(lower(schedule) if lowered else schedule)


@settings(deadline=None, max_examples=60)
@given(names, sizes, sizes, sizes, st.booleans(), st.data())
def test_a_schedule_that_lost_any_one_action_is_refused_by_its_name(
    name: str,
    n_stages: int,
    n_micro_batches: int,
    n_chunks: int,
    lowered: bool,
    data: st.DataObject,
) -> None:
    schedule = build_schedule(name, n_stages, n_micro_batches, n_chunks)
    # One cell on one stage without its B is a valid forward-only schedule.
    assume(n_stages * n_micro_batches * n_chunks > 1)
    schedule = lower(schedule) if lowered else schedule
    stage = data.draw(st.integers(0, n_stages - 1))
    lost = data.draw(st.sampled_from(schedule.actions[stage]))
    rest = tuple(action for action in schedule.actions[stage] if action != lost)
    actions = (*schedule.actions[:stage], rest, *schedule.actions[stage + 1 :])
    assert f"{lost} is missing" in error_of(replace(schedule, actions=actions))


def test_weights_gradients_after_their_backward_are_valid(read_schedule: Read) -> None:
    validate(read_schedule("0F0.0 0F0.1 0B0.1 0B0.0 0W0.1 0W0.0"))


def test_weights_gradients_in_another_order_than_backward_are_refused(read_schedule: Read) -> None:
    message = error_of(read_schedule("0F0.0 0F0.1 0B0.1 0B0.0 0W0.0 0W0.1"))
    assert "W runs micro-batches in ascending and chunks in descending order" in message
    assert message.endswith("0W0.0 >0W0.1<")


def test_a_weights_gradient_before_its_backward_is_refused(read_schedule: Read) -> None:
    assert "0W0.0 waits for 0B0.0" in error_of(read_schedule("0F0.0 0W0.0 0B0.0"))


def test_a_missing_action_is_shown_after_the_end_of_its_stage(read_schedule: Read) -> None:
    schedule = read_schedule("0F0.0 0F0.1 0B0.1 0B0.0", "1F0.0 1B0.1 1B0.0")
    assert error_of(schedule) == dedent("""\
        written: n_stages=2, n_micro_batches=1, n_chunks=2: every action runs exactly once, but \
1F0.1 is missing.
        stage 0 | 0F0.0 0F0.1 0B0.1 0B0.0
        stage 1 | 1F0.0 1B0.1 1B0.0 >1F0.1<""")


def test_a_doubled_action_is_marked_where_it_comes_again(read_schedule: Read) -> None:
    message = error_of(read_schedule("0F0.0 0B0.0 0B0.0"))
    assert "0B0.0 comes again" in message
    assert message.endswith("stage 0 | 0F0.0 0B0.0 >0B0.0<")


def test_an_action_in_the_list_of_another_stage_is_marked(read_schedule: Read) -> None:
    message = error_of(read_schedule("0F0.0 1F0.0", "1B0.0 0B0.0"))
    assert "1F0.0 is in the list of stage 0" in message
    assert ">1F0.0<" in message


def test_a_list_for_every_stage_must_be_there() -> None:
    schedule = replace(build_schedule("gpipe", 2, 1, 1), n_stages=3)
    assert "every stage needs a list of actions, but there are 2" in error_of(schedule)


def test_a_cell_outside_the_grid_is_marked(read_schedule: Read) -> None:
    schedule = replace(read_schedule("0F0.0 0F0.1"), n_chunks=1)
    message = error_of(schedule)
    assert "0F0.1 does not belong to this schedule" in message
    assert ">0F0.1<" in message


def test_a_hand_over_to_a_stage_that_is_not_there_is_marked(read_schedule: Read) -> None:
    schedule = read_schedule("0F0.0 0SEND_F0.0", "1RECV_F0.0 1F0.0 1SEND_F0.0")
    assert ">1SEND_F0.0<" in error_of(schedule)


@pytest.mark.parametrize(
    ("order", "marked"),
    [
        ("0F0.0 0F0.1 0B0.0 0B0.1", ">0B0.1<"),  # chunks ascend
        ("0F0.0 0F1.0 0B1.0 0B0.0", ">0B0.0<"),  # micro-batches descend
    ],
)
def test_a_backward_in_another_order_is_refused_as_wrong_gradients(
    read_schedule: Read, order: str, marked: str
) -> None:
    message = error_of(read_schedule(order))
    assert "wrong gradients" in message
    assert marked in message


def test_a_forward_whose_chunks_are_swapped_is_marked(read_schedule: Read) -> None:
    message = error_of(read_schedule("0F0.1 0F0.0"))
    assert "0F0.0 comes after chunk 1" in message
    assert ">0F0.0<" in message


def test_forwards_of_two_micro_batches_may_interleave(read_schedule: Read) -> None:
    validate(read_schedule("0F0.0 0F1.0 0F0.1 0F1.1"))


def test_sends_and_receives_of_neighbours_in_two_orders_are_refused(read_schedule: Read) -> None:
    message = error_of(
        read_schedule(
            "0F0.0 0SEND_F0.0 0F1.0 0SEND_F1.0",
            "1RECV_F1.0 1F1.0 1RECV_F0.0 1F0.0",
        )
    )
    assert "1RECV_F1.0 meets 0SEND_F0.0" in message
    assert ">1RECV_F1.0<" in message


def test_a_deadlock_marks_what_every_stage_is_stuck_at(read_schedule: Read) -> None:
    schedule = read_schedule("0F0.0 0B0.0 0F1.0 0B1.0", "1F0.0 1F1.0 1B0.0 1B1.0")
    assert error_of(schedule) == dedent("""\
        written: n_stages=2, n_micro_batches=2, n_chunks=1: deadlock, no stage can continue: \
0B0.0 waits for 1B0.0; 1F1.0 waits for 0F1.0.
        stage 0 | 0F0.0 >0B0.0< 0F1.0 0B1.0
        stage 1 | 1F0.0 >1F1.0< 1B0.0 1B1.0""")


def test_a_receive_before_the_send_that_it_waits_for_is_a_deadlock(read_schedule: Read) -> None:
    message = error_of(
        read_schedule(
            "0F0.0 0RECV_B0.0 0SEND_F0.0 0B0.0",
            "1RECV_F0.0 1F0.0 1B0.0 1SEND_B0.0",
        )
    )
    assert "0RECV_B0.0 waits for 1SEND_B0.0; 1RECV_F0.0 waits for 0SEND_F0.0" in message


def test_a_forward_before_its_receive_is_a_deadlock() -> None:
    schedule = lower(forward_only(build_schedule("gpipe", 2, 1, 1)))
    use_first = tuple(Action.parse(text) for text in ("1F0.0", "1RECV_F0.0"))
    message = error_of(replace(schedule, actions=(schedule.actions[0], use_first)))
    assert "1F0.0 waits for 1RECV_F0.0" in message


def test_a_weights_gradient_before_its_backward_is_a_deadlock(read_schedule: Read) -> None:
    assert "0W0.0 waits for 0B0.0" in error_of(read_schedule("0F0.0 0W0.0 0B0.0"))
