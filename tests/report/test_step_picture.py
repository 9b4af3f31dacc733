"""The picture of a run's step: prediction, measurement and memory over one time axis."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gru_parallel.report import RunResult, StageOutcome
from gru_parallel.report.step_picture import draw_step, step_figure
from gru_parallel.report.timeline_colours import COLOURS
from gru_parallel.schedule import Op, Timeline
from tests.builders import make_plan
from tests.report.test_summary import SUMMARY
from tests.report.test_timeline_picture import bars, legend, words

Simulated = Callable[..., Timeline]


def result_of(predicted: Timeline, measured: Timeline | None) -> RunResult:
    n_stages = predicted.n_stages
    names = [f"cuda:{index}" for index in range(n_stages)]
    peaks = [predicted.peak_activations(stage) for stage in range(n_stages)]
    stages = [
        StageOutcome(name, "0", 1.0, 1.0, (10 + peak) * 2**20, peak * 2**20, None)
        for name, peak in zip(names, peaks, strict=True)
    ]
    plan = make_plan([1] * n_stages, devices=names)
    return RunResult(replace(SUMMARY, stages=stages), plan, predicted, measured)


def figure_of(predicted: Timeline, measured: Timeline) -> Figure:
    return step_figure(result_of(predicted, measured), measured)


def axes_of(figure: Figure) -> Sequence[Axes]:
    above, below, memory = figure.axes
    return above, below, memory


def test_prediction_and_measurement_have_one_scale(simulated: Simulated) -> None:
    predicted, measured = simulated(2, 1, 4), simulated(2, 1, 4, lowered=True)
    assert measured.step_ms > predicted.step_ms
    axes = axes_of(figure_of(predicted, measured))

    assert {each.get_xlim() for each in axes} == {(0, measured.step_ms)}
    left, right = ({each.get_position().x0, each.get_position().x1} for each in axes[:2])
    assert left == right


def test_the_prediction_is_above_the_measurement_and_memory_below(simulated: Simulated) -> None:
    predicted, measured = simulated(2, 1, 4), simulated(2, 1, 4, lowered=True)
    above, below, memory = axes_of(figure_of(predicted, measured))

    assert above.get_position().y0 > below.get_position().y1
    assert below.get_position().y0 > memory.get_position().y1
    for axes, timeline in ((above, predicted), (below, measured)):
        drawn = [bar for bar in bars(axes) if bar[1] == COLOURS[Op.F]]
        assert sorted(drawn) == sorted(
            (event.action.stage, COLOURS[Op.F], event.start_ms, event.end_ms)
            for event in timeline.events
            if event.action.op is Op.F
        )


def test_headings_have_step_bubble_and_median(simulated: Simulated) -> None:
    predicted, measured = simulated(2, 1, 3), simulated(2, 1, 3, lowered=True)
    said = words(figure_of(predicted, measured))

    # 2 stages and 3 chunks: (C + S-1) * 3 ms, of which (S-1) / (C + S-1) idle.
    assert said[:2] == ["Predicted step, one_f_one_b", "step 12.0 ms, bubble 25.0 %"]
    assert said[2] == "Measured step, number 60"
    assert "with the optimiser 12.4 ms; median of 117 steps 12.5 ms" in said
    assert "in the cells: micro-batch.chunk" in said


def test_each_stage_has_a_dashed_and_a_solid_line_of_memory(simulated: Simulated) -> None:
    predicted, measured = simulated(2, 1, 4), simulated(2, 1, 4, lowered=True)
    _, _, memory = axes_of(figure_of(predicted, measured))

    lines = memory.get_lines()
    assert [line.get_linestyle() for line in lines] == ["--", "-", "--", "-"]
    assert {line.get_drawstyle() for line in lines} == {"steps-post"}
    assert [max(line.get_ydata()) for line in lines] == [14, 14, 14, 14]
    # Yellow could not be seen on white.
    assert all(sum(to_rgb(line.get_color())) / 3 < 0.55 for line in lines)
    assert memory.get_ylabel() == "MiB"
    assert memory.get_ylim()[0] == 0
    assert legend(memory) == ["predicted", "measured", "stage 0", "stage 1"]


def test_of_many_stages_eight_are_named_and_rows_are_lower(simulated: Simulated) -> None:
    few, many = (figure_of(simulated(n, 1, 2), simulated(n, 1, 2)) for n in (8, 64))
    _, _, memory = axes_of(many)

    named = legend(memory)[2:]
    assert (len(named), named[0], named[-1]) == (8, "stage 0", "stage 63")
    assert len(memory.get_lines()) == 2 * 8
    assert few.get_figheight() < many.get_figheight() < 3 * few.get_figheight()


@pytest.mark.parametrize("n_stages", [1, 2, pytest.param(8, marks=pytest.mark.long), 64])
def test_nothing_that_is_written_lies_outside_or_over_anything_else(
    simulated: Simulated, n_stages: int
) -> None:
    timeline = simulated(n_stages, 2, 2, name="zero_bubble")
    result = result_of(timeline, timeline)
    # As long as numbers come.
    long = {"timeline_step": 123_456, "timeline_step_ms": 12_345.0, "timed_steps": 199_997}
    summary = replace(result.summary, **long, step_ms=12_345.0)
    figure = step_figure(replace(result, summary=summary), timeline)
    figure.canvas.draw()

    extents = [text.get_window_extent() for text in figure.texts if text.get_text()]
    extents += [axes.get_legend().get_window_extent() for axes in (figure.axes[0], figure.axes[2])]
    for number, extent in enumerate(extents):
        assert 0 <= extent.x0 < extent.x1 <= figure.bbox.x1
        assert 0 <= extent.y0 < extent.y1 <= figure.bbox.y1
        assert not any(extent.overlaps(other) for other in extents[:number])
    for label in figure.axes[0].get_yticklabels():
        assert label.get_window_extent().x0 >= 0


def test_steps_without_a_length_are_drawn_all_the_same(tmp_path: Path) -> None:
    draw_step(result_of(Timeline(1, ()), Timeline(1, ())), tmp_path / "timeline.png")

    assert (tmp_path / "timeline.png").stat().st_size > 0


def test_without_a_measured_step_there_is_no_picture(simulated: Simulated, tmp_path: Path) -> None:
    draw_step(result_of(simulated(2, 1, 2), None), tmp_path / "timeline.png")

    assert not (tmp_path / "timeline.png").exists()
