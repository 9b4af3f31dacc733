from collections.abc import Callable
from textwrap import dedent, indent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.errors import ScheduleError, UsageError
from gru_parallel.schedule import (
    SCHEDULES,
    Action,
    Schedule,
    build_schedule,
    needs,
    simulate,
    validate,
)
from gru_parallel.schedule.truncated import truncated
from tests.schedule.slots import draw_slots

GRID = """\
stage 0 | 0F0.0 0F0.1       0B0.0 0F0.2 0B0.1 0F0.3 0B0.2       0B0.3
stage 1 |       1F0.0 1B0.0 1F0.1 1B0.1 1F0.2 1B0.2 1F0.3 1B0.3"""


def draw(schedule: Schedule) -> str:
    return draw_slots(simulate(schedule, lambda _: 1.0))


def test_1f1b_runs_over_segments_as_over_micro_batches() -> None:
    assert draw(build_schedule("one_f_one_b", 2, 1, 4, truncate=1)) == GRID


def test_the_grid_in_the_docstring_is_what_truncation_does() -> None:
    assert indent(GRID, "    ") in dedent((truncated.__doc__ or "").partition("\n")[2])


def test_within_a_segment_chunks_run_backward_and_the_last_one_may_be_short() -> None:
    assert draw(build_schedule("gpipe", 1, 1, 3, truncate=2)) == dedent("""\
        stage 0 | 0F0.0 0F0.1 0F0.2 0B0.1 0B0.0 0B0.2""")


def test_a_segment_waits_for_no_gradient_of_the_next_one() -> None:
    schedule = build_schedule("gpipe", 1, 1, 4, truncate=2)
    assert [str(a) for a in needs(Action.parse("0B0.1"), schedule)] == ["0F0.1"]
    assert [str(a) for a in needs(Action.parse("0B0.0"), schedule)] == ["0F0.0", "0B0.1"]


@pytest.mark.parametrize("n_chunks", [8, 64])
def test_1f1b_keeps_at_most_n_stages_segments_however_long_the_window(n_chunks: int) -> None:
    timeline = simulate(build_schedule("one_f_one_b", 3, 1, n_chunks, truncate=2), lambda _: 1.0)
    assert [timeline.peak_activations(stage) for stage in range(3)] == [6, 4, 2]


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 8),
)
def test_every_schedule_can_be_truncated(
    name: str, n_stages: int, n_micro_batches: int, n_chunks: int, truncate: int
) -> None:
    # build_schedule validates: complete, in order, free of deadlock.
    schedule = build_schedule(name, n_stages, n_micro_batches, n_chunks, truncate)
    if truncate >= n_chunks:
        uncut = build_schedule(name, n_stages, n_micro_batches, n_chunks)
        assert schedule.actions == uncut.actions


def test_backward_in_descending_order_of_segments_is_refused(
    read_schedule: Callable[..., Schedule],
) -> None:
    whole = read_schedule("0F0.0 0F0.1 0B0.1 0B0.0")
    validate(whole)
    cut = Schedule(whole.name, 1, 1, 2, whole.actions, truncate=1)
    with pytest.raises(ScheduleError, match=r"0B0\.0 comes after 0B0\.1"):
        validate(cut)


def test_no_chunks_and_a_barrier_are_refused() -> None:
    with pytest.raises(UsageError, match=r"schedule\.truncate=0 is not a size"):
        build_schedule("gpipe", 2, 1, 4, truncate=0)
    with pytest.raises(UsageError, match="here on stage 1: a bidirectional block"):
        build_schedule("gpipe", 2, 1, 4, truncate=2, barriers=frozenset({1}))
