"""The page of runs: what it shows, and that it needs nothing from outside."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from gru_parallel.data.forecast import Forecast
from gru_parallel.report import RunResult
from gru_parallel.report.page import page, write_page
from gru_parallel.report.timeline_colours import MEANING
from gru_parallel.schedule import Op, Timeline
from tests.builders import make_plan
from tests.report.test_summary import SUMMARY

Simulated = Callable[..., Timeline]

ROWS = (
    {"epoch": 0, "step": 1, "train/loss": 0.75},
    {"epoch": 0, "step": 2, "train/loss": 0.5},
    {"epoch": 0, "step": 2, "train/loss_epoch": 0.625, "val/loss": 0.7},
)
FORECASTS = tuple(
    Forecast("", str(cutoff + lead), str(cutoff), target, 2.0 * lead, 1.0 * lead)
    for cutoff in (10, 12)
    for lead in (1, 2)
    for target in ("a", "b")
)


def result_of(predicted: Timeline, measured: Timeline | None) -> RunResult:
    plan = make_plan([2, 2], "gpipe", 2, 4)
    return RunResult(SUMMARY, plan, predicted, measured, ROWS, FORECASTS)


@pytest.fixture
def result(simulated: Simulated) -> RunResult:
    return result_of(
        simulated(2, 2, 4, name="zero_bubble"), simulated(2, 2, 4, name="zero_bubble", lowered=True)
    )


def traces(figure: go.Figure, kind: str, row: int) -> list[Any]:
    (axis,) = figure.select_xaxes(row=row, col=1)
    name = axis.plotly_name.replace("axis", "")
    return [trace for trace in figure.data if trace.type == kind and trace.xaxis == name]


def tables(figure: go.Figure) -> list[list[list[str]]]:
    found = [trace.cells["values"] for trace in figure.data if trace.type == "table"]
    return [[list(row) for row in zip(*columns, strict=True)] for columns in found]


@pytest.mark.parametrize("row", [3, 4])
def test_each_action_is_a_bar_that_says_what_it_is(result: RunResult, row: int) -> None:
    timeline = {3: result.predicted, 4: result.measured}[row]
    assert timeline is not None
    idle, *of_ops = traces(page({"run": result}), "bar", row)

    assert idle.x == (timeline.step_ms,) * 2
    assert [trace.name for trace in of_ops] == list(MEANING.values())
    for trace, op in zip(of_ops, MEANING, strict=True):
        events = [event for event in timeline.events if event.action.op is op]
        assert sorted(zip(trace.y, trace.base, trace.x, strict=True)) == sorted(
            (event.action.stage, event.start_ms, event.duration_ms) for event in events
        )
    event = next(event for event in timeline.events if str(event.action) == "1F1.2")
    (words,) = [words for words in of_ops[0].customdata if "1F1.2" in words]
    assert "micro-batch 1, chunk 2" in words
    assert f"1.00 ms, from {event.start_ms:.3f} ms on" in words


def test_steps_have_one_scale_and_zoom_together(result: RunResult) -> None:
    assert result.measured is not None
    figure = page({"one": result, "other": result})

    for column in (1, 2):
        first, *others = (next(figure.select_xaxes(row=r, col=column)) for r in (3, 4, 5))
        assert first.range == (0, result.measured.step_ms)
        assert {axis.matches for axis in others} == {first.plotly_name.replace("axis", "")}


def test_memory_losses_and_forecasts_are_lines(result: RunResult) -> None:
    figure = page({"run": result})
    memory, losses, forecasts = (traces(figure, "scatter", row) for row in (5, 6, 8))

    assert [line.name for line in memory] == [
        f"stage {stage}, {kind}" for kind in ("predicted", "measured") for stage in range(2)
    ]
    notes = [note.text for note in figure.layout.annotations]
    assert "<b>run</b>: memory, by the planned size of a cell" in notes
    # 2 MiB that are always there, and 1 more with all cells.
    assert [max(line.y) for line in memory] == [3, 3, 3, 3]
    assert [(line.name, line.x, line.y) for line in losses] == [
        ("training, step by step", (1, 2), (0.75, 0.5)),
        ("training, mean of the epoch", (2,), (0.625,)),
        ("validation", (2,), (0.7,)),
    ]
    assert [line.name for line in forecasts] == [
        f"{target}: {what}" for target in ("a", "b") for what in ("what came", "forecast")
    ]
    assert [line.visible for line in forecasts] == [True, True, "legendonly", "legendonly"]
    # Between two windows the line is broken.
    assert forecasts[1].x == (11, 12, None, 13, 14)
    assert forecasts[1].y == (2, 4, None, 2, 4)


def test_what_came_is_broken_only_where_some_of_it_is_not_shown(result: RunResult) -> None:
    at_once = traces(page({"run": result}), "scatter", 8)[0]
    shown = [each for each in FORECASTS if each.cutoff == "10"]
    later = [each._replace(ds=str(int(each.ds) + 24), cutoff="34") for each in shown]
    apart = traces(page({"run": replace(result, forecasts=(*shown, *later))}), "scatter", 8)[0]

    assert at_once.x == (11, 12, 13, 14)
    assert apart.x == (11, 12, None, 35, 36)
    assert apart.y == (1, 2, None, 1, 2)


def test_the_widest_interval_is_shaded_window_by_window(result: RunResult) -> None:
    with_quantiles = tuple(
        each._replace(quantiles=((0.1, each.y_hat - 1), (0.5, each.y_hat), (0.9, each.y_hat + 2)))
        for each in FORECASTS
        if each.target == "a"
    )
    figure = page({"run": replace(result, forecasts=with_quantiles)})
    shade, _, line = traces(figure, "scatter", 8)

    assert (shade.name, shade.fill, line.name) == ("a: 80 % interval", "toself", "a: forecast")
    assert shade.x == (11, 12, 12, 11, 11, None, 13, 14, 14, 13, 13)
    assert shade.y == (4, 6, 3, 1, 4, None, 4, 6, 3, 1, 4)


def test_tables_have_promise_outcome_errors_and_versions(result: RunResult) -> None:
    overview, outcome, errors, versions = tables(page({"run": result}))

    assert ["step, planned", "11.5 ms"] in overview
    assert ["loss", "-"] in overview
    assert ["bubble, measured", "14.0 %"] in overview
    assert ["warnings", "Stage 1 on cpu:1 was slow."] in overview
    assert outcome[1] == ["1", "cpu:1", "2-3", "8.00 ms", "12.0 ms", "3.00 MiB", "-"]
    assert errors == [
        ["model", "0.1234", "0.3000"],
        ["repeat last value", "0.2000", "0.2500"],
        ["seasonal naive", "0.4000", "0.5000"],
    ]
    assert versions == [["torch", "2.13.0"], ["cores", "2"]]


def test_several_runs_stand_side_by_side_under_one_legend(result: RunResult) -> None:
    figure = page({"a<b": result, "c": result})

    titles = [note.text for note in figure.layout.annotations]
    assert titles[:2] == ["<b>a&lt;b</b>: run", "<b>c</b>: run"]
    left, right = (next(figure.select_xaxes(row=3, col=column)).domain for column in (1, 2))
    assert left[1] < right[0]
    named = [trace for trace in figure.data if trace.type == "bar" and trace.showlegend]
    assert len(named) == 2 * 4
    groups = [trace.legendgroup for trace in figure.data if trace.type == "bar"]
    assert all(groups)


def test_a_run_without_a_measured_step_and_without_a_test_has_a_page(
    simulated: Simulated,
) -> None:
    summary = replace(SUMMARY, test_metrics=None, baselines={}, step_ms=None, measured_bubble=None)
    bare = replace(result_of(simulated(2, 2, 4), None), summary=summary, rows=(), forecasts=())
    figure = page({"run": bare})

    assert traces(figure, "bar", 4) == []
    assert len(traces(figure, "scatter", 5)) == 2
    assert ["step, measured", "-"] in tables(figure)[0]


def test_the_file_holds_the_library_and_asks_for_nothing_else(
    result: RunResult, tmp_path: Path
) -> None:
    write_page({"</script><script>alert(1)</script>": result}, tmp_path / "report.html")

    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    # plotly.js, which is megabytes, and no element that would fetch anything.
    assert len(text) > 1_000_000
    outside = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""\b(src|href)\s*=""", outside)
    assert not re.search(r"<script[^>]*\bsrc=", text)
    assert "<script>alert(1)" not in text
    given = text[text.rindex("Plotly.newPlot(") :]
    for event in result.predicted.events:
        assert json.dumps(str(event.action))[1:-1] in given


def test_names_and_words_are_shown_as_they_are(result: RunResult) -> None:
    words = 'a "b" <b>c</b> & d'
    escaped = 'a "b" &lt;b&gt;c&lt;/b&gt; &amp; d'
    summary = replace(
        result.summary,
        ended="failed",
        reason=words,
        warnings=[words] * 2,
        environment={"on": words},
    )
    forecasts = tuple(each._replace(unique_id=words) for each in FORECASTS)
    figure = page({words: replace(result, summary=summary, forecasts=forecasts, loss=words)})

    overview, *_, versions = tables(figure)
    assert figure.layout.annotations[0].text == f"<b>{escaped}</b>: run"
    assert ["ended", f"failed: {escaped}"] in overview
    assert ["loss", escaped] in overview
    assert ["warnings", f"{escaped}<br>{escaped}"] in overview
    assert versions == [["on", escaped]]
    assert traces(figure, "scatter", 8)[0].name == f"{escaped} a: what came"


def test_equal_runs_make_equal_figures(result: RunResult) -> None:
    assert page({"run": result}) == page({"run": result})


def test_what_only_a_later_run_has_is_named_in_the_legend_too(
    result: RunResult, simulated: Simulated
) -> None:
    without_w = result_of(simulated(2, 2, 4), None)
    figure = page({"one": without_w, "other": result})

    named = [trace.name for trace in figure.data if trace.type == "bar" and trace.showlegend]
    assert named.count(MEANING[Op.W]) == 2
    assert named.count(MEANING[Op.F]) == 2
