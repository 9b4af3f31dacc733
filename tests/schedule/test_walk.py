from collections.abc import Callable

import pytest

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule import SCHEDULES, Action, Schedule, build_schedule, lower, needs
from gru_parallel.schedule.walk import walk


def walked(schedule: Schedule) -> list[Action]:
    return [schedule.all_actions[place] for place in walk(schedule)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_walk_runs_everything_once_and_after_all_that_it_needs(name: str) -> None:
    schedule = lower(build_schedule(name, 3, 3, 2))
    order = walked(schedule)
    place = {action: n for n, action in enumerate(order)}
    assert len(place) == len(order) == sum(map(len, schedule.actions))
    for action in order:
        assert all(place[needed] < place[action] for needed in needs(action, schedule))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_walk_keeps_the_order_of_every_stage(name: str) -> None:
    schedule = build_schedule(name, 3, 3, 2)
    order = walked(schedule)
    for stage, actions in enumerate(schedule.actions):
        assert tuple(action for action in order if action.stage == stage) == actions


def test_the_walk_stops_where_a_need_is_in_no_list(
    read_schedule: Callable[..., Schedule],
) -> None:
    with pytest.raises(ScheduleError, match=r"1F0\.1 waits for 0F0\.1\.\n"):
        walk(read_schedule("0F0.0", "1F0.0 1F0.1"))
