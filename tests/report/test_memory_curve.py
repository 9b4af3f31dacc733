"""The memory of a stage over a step: what is always there, and its cells while they are kept."""

from collections.abc import Callable

import pytest

from gru_parallel.report import StageOutcome
from gru_parallel.report.memory_curve import memory_curves
from gru_parallel.schedule import Action, Cell, Event, Op, Timeline

Simulated = Callable[..., Timeline]


def stages(*peaks: int) -> list[StageOutcome]:
    """Promise 1,000 bytes and 100 for each of so many cells."""
    return [StageOutcome("cpu:0", "0", 1.0, 1.0, 1000 + 100 * n, 100 * n, None) for n in peaks]


def test_each_f_adds_a_cell_and_each_b_takes_one_away(simulated: Simulated) -> None:
    timeline = simulated(1, 1, 2)
    (curve,) = memory_curves(timeline, timeline, stages(2))

    # F of 1 ms and B of 2, of both chunks.
    assert list(zip(curve.times_ms, curve.n_cells, strict=True)) == [
        (0.0, 1),
        (1.0, 2),
        (4.0, 1),
        (6.0, 0),
    ]
    assert curve.n_bytes == [1100, 1200, 1100, 1000]


@pytest.mark.parametrize("name", ["gpipe", "one_f_one_b", "zero_bubble"])
def test_the_highest_point_is_what_the_plan_promised(simulated: Simulated, name: str) -> None:
    predicted = simulated(3, 4, 2, name=name)
    measured = simulated(3, 4, 2, lowered=True, name=name)
    promised = stages(*(predicted.peak_activations(stage) for stage in range(3)))

    for timeline in (predicted, measured):
        for curve, stage in zip(
            memory_curves(timeline, predicted, promised), promised, strict=True
        ):
            assert max(curve.n_bytes) == pytest.approx(stage.predicted_memory_bytes)
            assert curve.n_bytes[-1] == pytest.approx(1000)
            assert curve.times_ms == sorted(curve.times_ms)
            assert curve.times_ms[-1] == timeline.step_ms


def test_a_cell_is_kept_until_its_weights_gradients_are_there(simulated: Simulated) -> None:
    timeline = simulated(1, 1, 1, name="zero_bubble")
    (curve,) = memory_curves(timeline, timeline, stages(1))

    assert curve.times_ms[curve.n_cells.index(0, 1)] == 3.5


def test_times_count_from_the_first_start_and_f_alone_keeps_nothing() -> None:
    events = (
        Event(Action(0, Op.F, Cell(0, 0)), 100.0, 101.0),
        Event(Action(0, Op.B, Cell(0, 0)), 101.0, 103.0),
        Event(Action(0, Op.F, Cell(0, 1)), 103.0, 104.0),
    )
    timeline = Timeline(1, events)
    (curve,) = memory_curves(timeline, timeline, stages(1))

    assert curve.times_ms == [0.0, 3.0, 4.0]
    assert curve.n_cells == [1, 0, 0]


def test_a_stage_that_did_nothing_needs_what_is_always_there() -> None:
    timeline = Timeline(1, ())
    (curve,) = memory_curves(timeline, timeline, stages(0))

    assert set(curve.n_bytes) == {1000}
