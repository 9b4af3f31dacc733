from dataclasses import replace

import pytest

from benchmarks.samples import ShapeRun
from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary, summarise
from benchmarks.targets import judge, judge_all, min_speedup
from tests.benchmarks.rounds import SHAPE, VARIANTS, a_round


def summary(pipeline_ms: float = 100.0) -> ShapeSummary:
    return summarise(ShapeRun(SHAPE, VARIANTS, (a_round(pipeline_ms=pipeline_ms),), 1))


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((128, 32, 96, 4), 1.2),
        ((128, 48, 96, 4), 1.2),
        ((256, 64, 96, 4), 1.1),
        ((64, 32, 96, 4), None),
        ((128, 16, 96, 4), None),
        ((128, 32, 48, 4), None),
        ((128, 32, 96, 8), None),
    ],
)
def test_speed_is_asked_of_the_shapes_of_the_target_alone(
    shape: tuple[int, int, int, int], wanted: float | None
) -> None:
    assert min_speedup(Shape(*shape)) == wanted


def test_a_number_on_the_right_side_of_its_limit_meets_the_target() -> None:
    # 10 % more CPU time, 6 % by the engine; 100 ms for an ideal of 90; a bubble of 40 % where 33 %
    # were simulated; 1.5 x as fast.
    added, engine, over_ideal, bubble, speed = judge(summary())
    verdicts = (added, engine, over_ideal, bubble, speed)
    assert [verdict.met for verdict in verdicts] == [False, False, True, False, True]
    assert "+10.0%" in added.measured
    assert "+6.0%" in engine.measured
    assert "1.11 x" in over_ideal.measured
    assert "+6.7%" in bubble.measured
    assert "1.50 x" in speed.measured


def test_a_number_on_the_wrong_side_misses_it() -> None:
    _, _, over_ideal, _, speed = judge(summary(pipeline_ms=130.0))
    assert not over_ideal.met
    assert not speed.met


def test_the_worst_pipeline_decides_on_overhead_and_the_best_on_speed() -> None:
    one = summary(pipeline_ms=100.0)
    slow = replace(summary(pipeline_ms=120.0).rows[-1], name="the slow one")
    _, _, over_ideal, _, speed = judge(replace(one, rows=(*one.rows, slow)))
    assert "the slow one" in over_ideal.measured
    assert "the slow one" not in speed.measured


def test_all_shapes_are_judged() -> None:
    assert len(judge_all([summary(), summary()])) == 10


def test_older_results_have_no_simulated_bubble_to_be_judged_by() -> None:
    one = summary()
    *rows, pipeline = one.rows
    assert pipeline.pipeline is not None
    older = replace(pipeline, pipeline=replace(pipeline.pipeline, simulated_bubble=None))
    assert len(judge(replace(one, rows=(*rows, older)))) == 4
