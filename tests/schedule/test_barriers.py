"""A barrier in time takes in all chunks of a micro-batch before it gives out the first."""

from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.schedule import (
    SCHEDULES,
    Action,
    Schedule,
    backward_only,
    build_schedule,
    draw_lists,
    forward_only,
    lower,
    needs,
    simulate,
    validate,
)


def with_barrier(name: str, n_stages: int, m: int, c: int, *stages: int) -> Schedule:
    return build_schedule(name, n_stages, m, c, barriers=frozenset(stages))


def needs_text(action: str, schedule: Schedule) -> str:
    return " ".join(map(str, needs(Action.parse(action), schedule)))


@pytest.mark.parametrize(
    ("action", "needed", "needed_lowered"),
    [
        ("1F0.0", "0F0.0", "1RECV_F0.0"),
        ("1F0.1", "0F0.1 1F0.0", "1RECV_F0.1 1F0.0"),
        # Stage 2 waits for the whole of stage 1.
        ("2F0.0", "1F0.1", "2RECV_F0.0"),
        ("2F0.1", "1F0.1 2F0.0", "2RECV_F0.1 2F0.0"),
        ("1B0.1", "1F0.1 2B0.1", "1F0.1 1RECV_B0.1"),
        # And stage 0 for the whole of its backward.
        ("0B0.1", "0F0.1 1B0.0", "0F0.1 0RECV_B0.1"),
    ],
)
def test_the_neighbours_wait_for_its_last_action_on_the_micro_batch(
    action: str, needed: str, needed_lowered: str
) -> None:
    schedule = with_barrier("gpipe", 3, 1, 2, 1)
    assert needs_text(action, schedule) == needed
    assert needs_text(action, lower(schedule)) == needed_lowered


def test_it_sends_all_chunks_after_the_last() -> None:
    lowered = lower(forward_only(with_barrier("gpipe", 2, 1, 2, 0)))
    assert draw_lists(lowered.actions) == dedent("""\
        stage 0 | 0F0.0      0F0.1 0SEND_F0.0 0SEND_F0.1
        stage 1 | 1RECV_F0.0 1F0.0 1RECV_F0.1 1F0.1""")
    lowered = lower(backward_only(with_barrier("gpipe", 2, 1, 2, 1)))
    assert draw_lists(lowered.actions) == dedent("""\
        stage 0 | 0RECV_B0.1 0B0.1 0RECV_B0.0 0B0.0
        stage 1 | 1B0.1      1B0.0 1SEND_B0.1 1SEND_B0.0""")


def test_time_chunks_gain_nothing_across_it_and_micro_batches_do() -> None:
    def cost_ms(action: Action) -> float:
        # What waits for a barrier costs all its time at once.
        if action.stage != 1:
            return 1.0
        last = 1 if str(action.op) == "F" else 0
        return 2.0 if action.chunk == last else 0.0

    chunks = simulate(with_barrier("gpipe", 2, 1, 2, 1), cost_ms)
    micro_batches = simulate(with_barrier("gpipe", 2, 4, 2, 1), cost_ms)
    assert chunks.bubble == 0.5
    assert micro_batches.bubble == pytest.approx(1 / 5)


@settings(max_examples=80)
@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 4),
    st.data(),
)
def test_every_schedule_finishes_with_barriers_anywhere(
    name: str, n_stages: int, n_micro_batches: int, n_chunks: int, data: st.DataObject
) -> None:
    barriers = data.draw(st.frozensets(st.integers(0, n_stages - 1)))
    schedule = build_schedule(name, n_stages, n_micro_batches, n_chunks, barriers=barriers)
    for part in (schedule, forward_only(schedule), backward_only(schedule)):
        validate(part)
        validate(lower(part))
