"""Promise and outcome as a table: a row for each stage, the step below, 80 columns at most."""

import re
from collections.abc import Callable
from dataclasses import replace

from gru_parallel.report import StageOutcome, outcome_table
from tests.report.test_summary import SUMMARY

Show = Callable[..., str]


def test_a_row_has_promise_and_outcome_of_a_stage_side_by_side(show: Show) -> None:
    rows = [line.split() for line in show(outcome_table(SUMMARY)).splitlines()]

    megabytes = ["3.00", "MiB", "-"]
    assert ["0", "cpu:0", "8.00", "ms", "8.40", "ms", "+5", "%", *megabytes] in rows
    assert ["1", "cpu:1", "8.00", "ms", "12.0", "ms", "+50", "%", *megabytes] in rows
    # 12.5 ms instead of 11.5; the memory of both stages.
    assert ["step", "11.5", "ms", "12.5", "ms", "+9", "%", "6.00", "MiB"] in rows


def test_below_it_are_the_bubble_and_the_memory_of_the_process(show: Show) -> None:
    text = show(outcome_table(SUMMARY))

    assert "bubble: planned 11.0 %, measured 14.0 %" in text
    assert "step: median of 117 steps, with the optimiser; stages: step 60" in text
    assert "memory of this process at its peak: 5.00 MiB more than before" in text


def test_it_says_where_only_the_first_steps_were_timed(show: Show) -> None:
    said = "only the first steps were timed, which take longer"

    assert said in show(outcome_table(replace(SUMMARY, is_warm=False)))
    assert said not in show(outcome_table(SUMMARY))


def test_a_stage_whose_memory_is_known_shows_it_and_the_process_is_left_out(show: Show) -> None:
    known = [replace(stage, measured_memory_bytes=7 * 2**20) for stage in SUMMARY.stages]
    text = show(outcome_table(replace(SUMMARY, stages=known)))

    assert text.count("7.00 MiB") == 2
    assert "memory of this process" not in text


def test_a_slow_stage_is_bold(show: Show) -> None:
    text = show(outcome_table(SUMMARY), styles=True)

    assert re.search(r"\x1b\[1m *12\.0 ms", text)
    assert not re.search(r"\x1b\[1m *8\.40 ms", text)


def test_what_was_not_measured_is_a_dash(show: Show) -> None:
    stages = [replace(stage, measured_ms=None) for stage in SUMMARY.stages]
    summary = replace(
        SUMMARY, stages=stages, step_ms=None, measured_bubble=None, timeline_step=None
    )
    text = show(outcome_table(summary))

    assert ["0", "cpu:0", "8.00", "ms", "-", "3.00", "MiB", "-"] in [
        line.split() for line in text.splitlines()
    ]
    assert "bubble: planned 11.0 %, not measured" in text
    assert "median" not in text


def test_the_table_of_a_large_run_stays_within_80_columns(show: Show) -> None:
    stage = StageOutcome("cuda:63", "94-95", 1_234.0, 9_876.0, 80 * 2**30, 2**30, 79 * 2**30)
    summary = replace(SUMMARY, stages=[stage] * 64, predicted_step_ms=1_234.0, step_ms=9_876.0)
    text = show(outcome_table(summary))

    assert max(map(len, text.splitlines())) <= 80
    # A cell that did not fit would be broken or cut.
    assert text.count("9,876 ms") == 65
    assert "…" not in text
