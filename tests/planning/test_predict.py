"""The predicted timeline of a step, from what each stage takes of a micro-batch."""

from dataclasses import replace

import pytest

from gru_parallel.errors import ScheduleError
from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.planning import predict
from gru_parallel.planning.cell_costs import CellTimes
from gru_parallel.planning.crossings import Crossing
from gru_parallel.planning.stage_times import StageTimes
from gru_parallel.schedule import Pool


def plan(schedule: str, n_stages: int, n_micro_batches: int, n_chunks: int) -> Plan:
    stages = tuple(StagePlan(f"cpu:{stage}", stage, 1) for stage in range(n_stages))
    return Plan(n_stages, Grid(1, schedule, n_micro_batches, n_chunks), stages)


def cells(forward_ms: float, backward_ms: float, weights_ms: float = 0.0) -> StageTimes:
    """What one cell takes, whatever its chunk."""
    joint_ms = backward_ms + weights_ms
    return StageTimes(CellTimes(forward_ms, backward_ms, weights_ms, joint_ms))


def test_every_cell_takes_what_its_stage_takes_for_one() -> None:
    timeline = predict(plan("gpipe", 2, 2, 4), [cells(1, 2), cells(0.5, 1.5)])
    durations = {(e.action.stage, e.action.op.value): e.duration_ms for e in timeline.events}
    assert durations == {(0, "F"): 1.0, (0, "B"): 2.0, (1, "F"): 0.5, (1, "B"): 1.5}
    assert (timeline.busy_ms(0), timeline.busy_ms(1)) == (24.0, 16.0)


def test_where_the_weights_gradient_is_separate_it_is_an_action_of_its_own() -> None:
    times = [cells(2, 2, 2), cells(1, 3, 1)]

    apart = predict(plan("zero_bubble", 2, 1, 4), times)
    together = predict(plan("gpipe", 2, 1, 4), times)

    durations = {(e.action.stage, e.action.op.value): e.duration_ms for e in apart.events}
    assert durations == {
        (0, "F"): 2.0,
        (0, "B"): 2.0,
        (0, "W"): 2.0,
        (1, "F"): 1.0,
        (1, "B"): 3.0,
        (1, "W"): 1.0,
    }
    assert {e.duration_ms for e in together.events if e.action.op.value == "B"} == {4.0}


def test_what_is_run_again_counts_to_b() -> None:
    recomputed = plan("zero_bubble", 1, 1, 4)
    recomputed = replace(recomputed, grid=replace(recomputed.grid, recompute="cell"))
    timeline = predict(recomputed, [cells(2, 2, 2)])
    durations = {e.action.op.value: e.duration_ms for e in timeline.events}
    assert durations == {"F": 2.0, "B": 4.0, "W": 2.0}


def test_what_a_barrier_holds_back_comes_with_the_last_f_and_the_first_chunks_b_and_w() -> None:
    times = StageTimes(CellTimes(1, 1, 1, 2), CellTimes(10, 20, 30, 50), CellTimes(0.5, 0.5))
    timeline = predict(plan("zero_bubble", 1, 1, 2), [times], frozenset({0}))
    durations = {str(e.action): e.duration_ms for e in timeline.events}
    assert durations == {
        "0F0.0": 1.0,
        "0F0.1": 11.5,
        "0B0.1": 1.5,
        "0W0.1": 1.0,
        "0B0.0": 21.0,
        "0W0.0": 31.0,
    }


def test_with_one_micro_batch_zero_bubble_takes_two_thirds_of_the_bubble() -> None:
    found = {
        name: predict(plan(name, 2, 1, 4), [cells(1, 1, 1)] * 2)
        for name in ("gpipe", "zero_bubble")
    }
    assert found["gpipe"].bubble == pytest.approx(1 / 5)
    assert found["zero_bubble"].bubble == pytest.approx(1 / 7)


@pytest.mark.parametrize(("n_chunks", "bubble"), [(1, 3 / 4), (16, 3 / 19)])
def test_chunks_shrink_the_bubble_of_four_stages_from_75_to_16_percent(
    n_chunks: int, bubble: float
) -> None:
    timeline = predict(plan("gpipe", 4, 1, n_chunks), [cells(1, 2)] * 4)
    assert timeline.bubble == pytest.approx(bubble, abs=1e-12)


def test_naive_takes_the_sum_of_all_stages() -> None:
    times = [cells(0.25, 0.5), cells(0.5, 1), cells(0.75, 1.5)]
    timeline = predict(plan("naive", 3, 2, 2), times)
    assert timeline.step_ms == pytest.approx(18.0, abs=1e-12)


def test_a_hand_over_delays_the_next_stage_and_occupies_none() -> None:
    crossings = [Crossing(0.25, 0.25)]
    timeline = predict(plan("gpipe", 2, 1, 4), [cells(1, 1)] * 2, crossings=crossings)
    # Once on the way there and once on the way back.
    assert timeline.step_ms == pytest.approx(4 + 1 + 4 + 1 + 2 * 0.25)
    assert timeline.busy_ms(0) == 8.0


def test_what_crosses_one_boundary_in_one_direction_follows_one_another() -> None:
    # A cell takes 3.5 ms to the next stage, for 3 of which no other one can cross.
    crossings = [Crossing(3.5, 3.0), Crossing(0.0, 0.0)]
    timeline = predict(plan("gpipe", 3, 1, 4), [cells(1, 1)] * 3, crossings=crossings)
    # The first F, four crossings and two more stages for the last cell; then the same back.
    assert timeline.step_ms == pytest.approx(2 * (1 + 4 * 3 + 0.5 + 2))


def test_stages_that_share_one_processor_take_turns() -> None:
    timeline = predict(
        plan("gpipe", 2, 1, 4), [cells(1, 1)] * 2, pools=[Pool(frozenset({0, 1}), 1)]
    )
    assert timeline.step_ms == pytest.approx(16.0)


def test_times_for_other_than_the_stages_of_the_plan_are_refused() -> None:
    with pytest.raises(ScheduleError, match="1 stage times for the 2 stages of the plan"):
        predict(plan("gpipe", 2, 1, 1), [cells(1, 2)])
