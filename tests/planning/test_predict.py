from dataclasses import replace

import pytest

from gru_parallel.errors import ScheduleError
from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.planning import predict


def plan(schedule: str, n_stages: int, n_micro_batches: int, n_chunks: int) -> Plan:
    stages = tuple(StagePlan(f"cpu:{stage}", stage, 1) for stage in range(n_stages))
    return Plan(n_stages, Grid(1, schedule, n_micro_batches, n_chunks), stages)


def test_the_time_of_a_stage_is_split_evenly_over_its_cells() -> None:
    timeline = predict(plan("gpipe", 2, 2, 4), [(8.0, 16.0), (4.0, 12.0)])
    durations = {(e.action.stage, e.action.op.value): e.duration_ms for e in timeline.events}
    assert durations == {(0, "F"): 1.0, (0, "B"): 2.0, (1, "F"): 0.5, (1, "B"): 1.5}
    assert (timeline.busy_ms(0), timeline.busy_ms(1)) == (24.0, 16.0)


def test_where_the_weights_gradient_is_separate_it_takes_as_long_as_forward() -> None:
    timeline = predict(plan("zero_bubble", 2, 1, 4), [(8.0, 16.0), (4.0, 16.0)])
    durations = {(e.action.stage, e.action.op.value): e.duration_ms for e in timeline.events}
    assert durations == {
        (0, "F"): 2.0,
        (0, "B"): 2.0,
        (0, "W"): 2.0,
        (1, "F"): 1.0,
        (1, "B"): 3.0,
        (1, "W"): 1.0,
    }


def test_what_is_run_again_is_no_part_of_the_weights_gradient() -> None:
    recomputed = plan("zero_bubble", 1, 1, 4)
    recomputed = replace(recomputed, grid=replace(recomputed.grid, recompute="cell"))
    timeline = predict(recomputed, [(8.0, 24.0)])
    durations = {e.action.op.value: e.duration_ms for e in timeline.events}
    assert durations == {"F": 2.0, "B": 4.0, "W": 2.0}


def test_held_work_is_held_in_the_weights_gradient_too() -> None:
    timeline = predict(plan("zero_bubble", 1, 1, 2), [(8.0, 16.0)], {0: (1.0, 0.75)})
    durations = {str(e.action): e.duration_ms for e in timeline.events}
    assert durations["0B0.1"] == durations["0W0.1"] == 1.0
    assert durations["0B0.0"] == durations["0W0.0"] == 7.0


def test_with_one_micro_batch_zero_bubble_takes_two_thirds_of_the_bubble() -> None:
    found = {
        name: predict(plan(name, 2, 1, 4), [(4.0, 8.0)] * 2) for name in ("gpipe", "zero_bubble")
    }
    assert found["gpipe"].bubble == pytest.approx(1 / 5)
    assert found["zero_bubble"].bubble == pytest.approx(1 / 7)


@pytest.mark.parametrize(("n_chunks", "bubble"), [(1, 3 / 4), (16, 3 / 19)])
def test_chunks_shrink_the_bubble_of_four_stages_from_75_to_16_percent(
    n_chunks: int, bubble: float
) -> None:
    timeline = predict(plan("gpipe", 4, 1, n_chunks), [(16.0, 32.0)] * 4)
    assert timeline.bubble == pytest.approx(bubble, abs=1e-12)


def test_naive_takes_the_sum_of_all_stages() -> None:
    timeline = predict(plan("naive", 3, 2, 2), [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)])
    assert timeline.step_ms == pytest.approx(18.0, abs=1e-12)


def test_times_for_other_than_the_stages_of_the_plan_are_refused() -> None:
    with pytest.raises(ScheduleError, match="1 stage times for the 2 stages of the plan"):
        predict(plan("gpipe", 2, 1, 1), [(1.0, 2.0)])
