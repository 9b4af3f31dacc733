from dataclasses import replace

import pytest

from benchmarks.samples import Round, ShapeRun, Turn
from benchmarks.summary import ideal_step, summarise
from tests.benchmarks.rounds import PIPELINE, SHAPE, VARIANTS, a_round, pipeline_step


def run(*rounds: Round, wanted: int = 1) -> ShapeRun:
    return ShapeRun(SHAPE, VARIANTS, rounds, wanted)


def test_speed_is_against_the_nn_gru_with_the_smaller_median() -> None:
    one, two, pipeline = summarise(run(a_round(one_ms=200, two_ms=150, pipeline_ms=100))).rows
    assert (one.speedup, two.speedup, pipeline.speedup) == pytest.approx((0.75, 1.0, 1.5))


def test_speed_is_compared_inside_each_round_so_that_a_slow_machine_cancels_out() -> None:
    slow = a_round(one_ms=2000, two_ms=1500, pipeline_ms=1000)
    row = summarise(run(a_round(), slow, a_round())).rows[-1]
    assert (row.speedup_low, row.speedup, row.speedup_high) == pytest.approx((1.5, 1.5, 1.5))


def test_the_median_of_wall_and_cpu_time_is_reported() -> None:
    summary = summarise(run(*(a_round(pipeline_ms=ms) for ms in (90, 100, 500))))
    assert summary.rows[-1].wall_ms == 100
    assert summary.rows[-1].cpu_ms == 110


def test_added_cpu_is_split_into_the_engine_and_slower_cells() -> None:
    numbers = summarise(run(a_round())).rows[-1].pipeline
    assert numbers is not None
    assert numbers.added_cpu == pytest.approx(0.10)
    assert numbers.engine_cpu == pytest.approx(0.06)


def test_an_nn_gru_has_no_numbers_of_a_pipeline() -> None:
    assert [row.pipeline is None for row in summarise(run(a_round())).rows] == [True, True, False]


def test_the_ideal_step_waits_for_the_first_cell_only() -> None:
    # F of 10 ms, B of 20 ms, two chunks: three slots of F, three of B.
    step = pipeline_step(100.0)
    assert step.pipeline is not None
    assert ideal_step(PIPELINE.plan(SHAPE), [step.pipeline.cells_ms]).step_ms == pytest.approx(90.0)
    numbers = summarise(run(a_round(pipeline_ms=99))).rows[-1].pipeline
    assert numbers is not None
    assert numbers.over_ideal == pytest.approx(1.1)
    assert numbers.simulated_bubble == numbers.ideal_bubble == pytest.approx(1 / 3)


def test_the_ideal_takes_the_median_of_each_cell() -> None:
    steps = [pipeline_step(100.0, f_ms=f_ms).pipeline for f_ms in (10.0, 10.0, 70.0)]
    cells = [step.cells_ms for step in steps if step is not None]
    assert ideal_step(PIPELINE.plan(SHAPE), cells).step_ms == pytest.approx(90.0)


def test_disturbed_rounds_are_left_out_and_counted() -> None:
    summary = summarise(run(a_round(), a_round(pipeline_ms=900, stolen=0.3), wanted=2))
    assert summary.rows[-1].wall_ms == 100
    assert (summary.n_kept, summary.n_run, summary.n_wanted) == (1, 2, 2)
    assert summary.stolen == (0.0, 0.3)
    assert not summary.disturbed


def test_with_no_undisturbed_round_all_are_used_and_the_summary_says_so() -> None:
    summary = summarise(run(a_round(stolen=0.3), a_round(stolen=0.4)))
    assert summary.disturbed
    assert summary.n_kept == 2


def test_any_two_rows_are_compared_inside_each_round() -> None:
    rounds = [a_round(one_ms=ms, pipeline_ms=50) for ms in (100, 150, 400)]
    one, _, pipeline = summarise(run(*rounds)).rows
    assert pipeline.rounds_ms == (50, 50, 50)
    assert pipeline.speedup_over(one) == (2.5, 3.0, 5.5)


def test_every_step_of_a_turn_counts() -> None:
    base = a_round()
    turn = Turn(tuple(pipeline_step(ms) for ms in (80.0, 100.0, 120.0, 130.0, 140.0)), 600.0)
    several = replace(base, turns={**base.turns, PIPELINE: turn})
    assert summarise(run(several)).rows[-1].wall_ms == 120.0
