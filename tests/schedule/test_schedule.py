from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gru_parallel.schedule import Action, Schedule, build_schedule, forward_only, lower, needs
from gru_parallel.schedule.schedule import NOWHERE
from tests.schedule.family import schedules


def needs_text(action: str, schedule: Schedule) -> str:
    return " ".join(map(str, needs(Action.parse(action), schedule)))


@pytest.mark.parametrize(
    ("action", "needed"),
    [
        ("0F0.0", ""),
        ("0F0.1", "0F0.0"),
        ("0F1.0", ""),  # micro-batches are independent of each other
        ("1F0.0", "0F0.0"),
        ("1F1.1", "0F1.1 1F1.0"),
        ("2B1.1", "2F1.1"),
        ("2B1.0", "2F1.0 2B1.1"),
        ("1B1.1", "1F1.1 2B1.1"),
        ("0B0.0", "0F0.0 1B0.0 0B0.1"),
        ("1W0.1", "1B0.1"),
    ],
)
def test_compute_waits_for_the_neighbour_and_for_the_state_of_the_next_chunk(
    action: str, needed: str
) -> None:
    assert needs_text(action, build_schedule("gpipe", 3, 2, 2)) == needed


@pytest.mark.parametrize(
    ("action", "needed"),
    [
        ("0F0.1", "0F0.0"),
        ("1F1.1", "1RECV_F1.1 1F1.0"),
        ("1B1.0", "1F1.0 1RECV_B1.0 1B1.1"),
        ("1SEND_F1.1", "1F1.1"),
        ("1SEND_B1.1", "1B1.1"),
        ("1RECV_F1.1", "0SEND_F1.1"),
        ("1RECV_B1.1", "2SEND_B1.1"),
    ],
)
def test_in_a_lowered_schedule_other_stages_are_waited_for_through_receives(
    action: str, needed: str
) -> None:
    assert needs_text(action, lower(build_schedule("gpipe", 3, 2, 2))) == needed


@pytest.mark.parametrize(
    ("action", "needed", "needed_lowered"),
    [
        ("0F0.0", "", ""),
        ("0F0.1", "0F0.0 2F0.0", "0F0.0 0RECV_F0.0"),
        ("0F1.0", "0B0.0", "0B0.0"),
        ("1F0.1", "0F0.1 1F0.0", "1RECV_F0.1 1F0.0"),
        ("2B0.1", "2F0.1", "2F0.1"),
        ("2B0.0", "2F0.0 2B0.1 0B0.1", "2F0.0 2B0.1 2RECV_B0.1"),
    ],
)
def test_one_at_a_time_a_cell_enters_when_the_one_before_has_left(
    action: str, needed: str, needed_lowered: str
) -> None:
    schedule = build_schedule("naive", 3, 2, 2)
    assert needs_text(action, schedule) == needed
    assert needs_text(action, lower(schedule)) == needed_lowered


def test_one_at_a_time_without_backward_a_micro_batch_leaves_at_the_last_stage() -> None:
    schedule = forward_only(build_schedule("naive", 3, 2, 2))
    assert needs_text("0F1.0", schedule) == "2F0.1"
    assert needs_text("0F1.0", lower(schedule)) == "0RECV_F0.1"


def test_on_one_stage_nothing_is_needed_twice() -> None:
    assert needs_text("0B0.0", build_schedule("naive", 1, 1, 2)) == "0F0.0 0B0.1"


def test_a_schedule_knows_whether_it_is_lowered(
    read_schedule: Callable[..., Schedule],
) -> None:
    training = read_schedule("0F0.0 0B0.0", "1F0.0 1B0.0")
    assert not training.is_lowered
    assert lower(training).is_lowered


def test_a_schedule_prints_its_name_and_sizes_only() -> None:
    text = str(build_schedule("gpipe", 3, 2, 4))
    assert text == "gpipe: n_stages=3, n_micro_batches=2, n_chunks=4"


@settings(deadline=None)
@given(schedules(), st.booleans())
def test_what_an_action_waits_for_is_what_it_needs_and_its_own_list_has_not_run(
    schedule: Schedule, lowered: bool
) -> None:
    schedule = lower(schedule) if lowered else schedule
    run: dict[int, set[Action]] = {}
    for action, waits in zip(schedule.all_actions, schedule.waits, strict=True):
        run_here = run.setdefault(action.stage, set())
        expected = {needed for needed in needs(action, schedule) if needed not in run_here}
        assert {schedule.all_actions[place] for place in waits} == expected
        run_here.add(action)


def test_what_is_in_no_list_is_nowhere(read_schedule: Callable[..., Schedule]) -> None:
    assert read_schedule("0F0.0", "1F0.0 1F0.1").waits == ((), (0,), (NOWHERE,))
