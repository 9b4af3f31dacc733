import re
from collections.abc import Callable

import pytest

from gru_parallel.errors import ScheduleError, UsageError
from gru_parallel.schedule import (
    SCHEDULES,
    Action,
    Cell,
    Op,
    backward_only,
    build_schedule,
    draw_lists,
    forward_only,
)
from gru_parallel.schedule.naive import naive


@pytest.mark.parametrize(
    ("name", "nearest"), [("gpip", "gpipe"), ("GPipe", "gpipe"), ("one_f_oneb", "one_f_one_b")]
)
def test_an_unknown_name_gets_the_nearest_and_all_real_ones(name: str, nearest: str) -> None:
    with pytest.raises(
        UsageError,
        match=rf"schedule\.name={name} .*did you mean {nearest}\?.*{', '.join(SCHEDULES)}",
    ):
        build_schedule(name, 2, 2, 2)


def test_a_name_near_to_none_gets_the_real_ones() -> None:
    names = ", ".join(SCHEDULES)
    with pytest.raises(UsageError, match=f"is not a schedule; use one of {names}"):
        build_schedule("zzz", 2, 2, 2)


@pytest.mark.parametrize(
    ("sizes", "setting"),
    [
        ((0, 1, 1), r"n_stages=0"),
        ((1, -1, 1), r"schedule\.n_micro_batches=-1"),
        ((1, 1, 0), r"schedule\.n_chunks=0"),
    ],
)
def test_a_size_below_one_is_refused_by_name(sizes: tuple[int, int, int], setting: str) -> None:
    with pytest.raises(UsageError, match=rf"^{setting} is not a size"):
        build_schedule("gpipe", *sizes)


def test_equal_arguments_give_the_same_schedule() -> None:
    assert build_schedule("gpipe", 2, 3, 4) is build_schedule("gpipe", 2, 3, 4)


def test_only_naive_runs_one_cell_at_a_time() -> None:
    one_at_a_time = {name for name in SCHEDULES if build_schedule(name, 2, 1, 1).one_at_a_time}
    assert one_at_a_time == {"naive"}
    assert forward_only(build_schedule("naive", 2, 1, 1)).one_at_a_time


@pytest.mark.parametrize("name", SCHEDULES)
def test_forward_only_runs_every_cell_in_ascending_order(name: str) -> None:
    assert draw_lists(forward_only(build_schedule(name, 2, 2, 2)).actions) == (
        "stage 0 | 0F0.0 0F0.1 0F1.0 0F1.1\nstage 1 | 1F0.0 1F0.1 1F1.0 1F1.1"
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_backward_only_is_what_forward_only_leaves_out(name: str) -> None:
    whole = build_schedule(name, 2, 2, 2)
    of_stages = zip(whole.actions, backward_only(whole).actions, strict=True)
    for actions, rest in of_stages:
        assert rest == tuple(action for action in actions if action.op is not Op.F)


def test_only_zero_bubble_separates_the_weights_gradient() -> None:
    schedules = [build_schedule(name, 2, 1, 1) for name in SCHEDULES]
    separating = {schedule.name for schedule in schedules if schedule.separates_weights}
    assert separating == {"zero_bubble"}
    assert backward_only(build_schedule("zero_bubble", 2, 1, 1)).separates_weights
    assert not forward_only(build_schedule("zero_bubble", 2, 1, 1)).separates_weights


def test_a_new_schedule_that_is_wrong_does_not_get_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def chunks_ascend(
        n_stages: int, n_micro_batches: int, n_chunks: int
    ) -> tuple[tuple[Action, ...], ...]:
        return tuple(
            tuple(sorted(stage, key=lambda action: (action.op is Op.B, action.cell)))
            for stage in naive(n_stages, n_micro_batches, n_chunks)
        )

    monkeypatch.setitem(SCHEDULES, "chunks_ascend", chunks_ascend)
    with pytest.raises(ScheduleError, match=r">0B0\.1<"):
        build_schedule("chunks_ascend", 2, 1, 2)


def without_its_last(
    n_stages: int, n_micro_batches: int, n_chunks: int
) -> tuple[tuple[Action, ...], ...]:
    """Leave the last action of each stage out."""
    return tuple(stage[:-1] for stage in naive(n_stages, n_micro_batches, n_chunks))


def nothing(n_stages: int, n_micro_batches: int, n_chunks: int) -> None:
    """Return nothing, as who forgets to."""


def as_lists(n_stages: int, n_micro_batches: int, n_chunks: int) -> list[list[Action]]:
    """Return lists where tuples are asked for."""
    return [list(stage) for stage in naive(n_stages, n_micro_batches, n_chunks)]


def as_text(n_stages: int, n_micro_batches: int, n_chunks: int) -> list[list[str]]:
    """Return no actions."""
    return [list(map(str, stage)) for stage in naive(n_stages, n_micro_batches, n_chunks)]


def of_stages(n_stages: int) -> tuple[tuple[Action, ...], ...]:
    """Take too little."""
    return naive(n_stages, 1, 1)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (without_its_last, r"every action runs exactly once, but 0B0\.0 is missing\.\n.*>0B0\.0<"),
        (nothing, "returned None; return for each stage the tuple of its Actions"),
        (as_text, r"returned \[\['0F0\.0', '0F0\.1', "),
        (of_stages, r"takes \(n_stages: int\) -> .*, and is called with n_stages, n_micro_batches"),
    ],
)
def test_a_wrong_schedule_of_ones_own_is_refused_by_its_name(
    function: Callable[..., object], message: str
) -> None:
    name = f"{__name__}.{function.__name__}"

    with pytest.raises(UsageError, match=rf"(?s)^schedule\.name={re.escape(name)}.*{message}"):
        build_schedule(name, 2, 1, 2)


def test_a_schedule_of_ones_own_may_return_lists() -> None:
    found = build_schedule(f"{__name__}.as_lists", 2, 1, 2)

    assert found.actions == naive(2, 1, 2)


def test_every_schedule_starts_its_backward_at_the_last_chunk() -> None:
    for name in SCHEDULES:
        backward = [a for a in build_schedule(name, 2, 2, 3).actions[1] if a.op is Op.B]
        assert backward[0] == Action(1, Op.B, Cell(0, 2))
