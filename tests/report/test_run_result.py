"""A report needs nothing but the folder of a run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from gru_parallel.data.forecast import Forecast
from gru_parallel.errors import UsageError
from gru_parallel.report import RunResult, results_table
from gru_parallel.report.step_picture import draw_step
from gru_parallel.run_folder import RunFolder
from gru_parallel.schedule import Timeline
from tests.builders import make_plan
from tests.report.test_summary import SUMMARY

Simulated = Callable[..., Timeline]
PLAN = make_plan([2, 2], "gpipe", 2, 4)
FORECASTS = (
    Forecast("a", "2026-01-31T01", "2026-01-31T00", "load", 1.25, 1.5),
    Forecast("a", "2026-01-31T02", "2026-01-31T00", "load", -1e-05, 1.75),
)


def write_run(folder: Path, predicted: Timeline, measured: Timeline | None) -> RunResult:
    """Leave what a run leaves, and return what it came to."""
    files = RunFolder(folder)
    files.plan.write_text(PLAN.to_json())
    with files.metrics.open("w", newline="") as file:
        rows = [["epoch", "step", "lr", "val/loss"], [0, 3, 0.001, ""], [0, 3, "", 0.5]]
        csv.writer(file).writerows(rows)
    table = ({"epoch": 0, "step": 3, "lr": 0.001}, {"epoch": 0, "step": 3, "val/loss": 0.5})
    result = RunResult(SUMMARY, PLAN, predicted, measured, table, FORECASTS)
    result.write(files)
    return result


@pytest.fixture
def written(simulated: Simulated, tmp_path: Path) -> RunResult:
    return write_run(tmp_path, simulated(2, 2, 4), simulated(2, 2, 4, lowered=True))


def by_stage(timeline: Timeline) -> Timeline:
    stages = range(timeline.n_stages)
    events = tuple(event for stage in stages for event in timeline.stage_events(stage))
    return Timeline(timeline.n_stages, events)


def test_a_result_read_back_is_the_one_that_was_written(written: RunResult, tmp_path: Path) -> None:
    read = RunResult.read(tmp_path)

    assert written.measured is not None
    assert read == RunResult(
        SUMMARY,
        PLAN,
        by_stage(written.predicted),
        by_stage(written.measured),
        written.rows,
        FORECASTS,
    )


def test_picture_and_table_made_from_the_folder_are_those_of_the_run(
    written: RunResult, tmp_path: Path, show: Callable[..., str]
) -> None:
    draw_step(written, tmp_path / "before.png")

    read = RunResult.read(tmp_path)
    draw_step(read, tmp_path / "after.png")

    assert (tmp_path / "after.png").read_bytes() == (tmp_path / "before.png").read_bytes()
    assert show(results_table(read.summary)) == show(results_table(SUMMARY))


def test_a_run_in_which_no_step_was_timed_has_the_predicted_one_and_no_picture(
    simulated: Simulated, tmp_path: Path
) -> None:
    write_run(tmp_path, simulated(2, 2, 4), None)

    read = RunResult.read(tmp_path)
    draw_step(read, tmp_path / "timeline.png")

    assert read.measured is None
    assert read.predicted == by_stage(simulated(2, 2, 4))
    assert not (tmp_path / "timeline.png").exists()


@pytest.mark.parametrize("name", ["summary.json", "plan.json", "trace.json", "metrics.csv"])
@pytest.mark.parametrize("text", [None, "epoch,step\na,b\n"], ids=["missing", "strange"])
def test_a_folder_that_no_run_has_left_so_is_refused(
    name: str, text: str | None, written: RunResult, tmp_path: Path
) -> None:
    (tmp_path / name).unlink()
    if text is not None:
        (tmp_path / name).write_text(text)

    with pytest.raises(UsageError, match="does not hold the result of a run"):
        RunResult.read(tmp_path)


def test_a_run_without_a_test_has_no_forecasts(written: RunResult, tmp_path: Path) -> None:
    (tmp_path / "forecasts.csv").unlink()

    assert RunResult.read(tmp_path).forecasts == ()


def test_forecasts_of_another_kind_are_refused(written: RunResult, tmp_path: Path) -> None:
    (tmp_path / "forecasts.csv").write_text("ds,y\n0,1\n")

    with pytest.raises(UsageError, match="does not hold the result of a run"):
        RunResult.read(tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("model: {loss: mae, quantiles: null}\ndata: {weight: null}", "mae"),
        ("model: {loss: quantile, quantiles: null}", "quantile of 0.1, 0.5, 0.9"),
        (
            "model: {loss: quantile, quantiles: [0.3, 0.5]}\ndata: {weight: w}",
            "quantile of 0.3, 0.5, rows weighted by w",
        ),
        ("model: {", ""),
    ],
)
def test_it_is_said_what_was_minimised(
    settings: str, words: str, written: RunResult, tmp_path: Path
) -> None:
    RunFolder(tmp_path).config.write_text(settings)
    assert RunResult.read(tmp_path).loss == words
