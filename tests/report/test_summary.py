"""The result of a run: strict JSON, and a table in which the best error is bold."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from gru_parallel.report import StageOutcome, Summary, results_table
from gru_parallel.report.summary import read_summary, write_summary

Show = Callable[..., str]

SUMMARY = Summary(
    ended="completed",
    reason=None,
    test_metrics={"mse": 0.12344, "mae": 0.3},
    baselines={
        "repeat_last": {"mse": 0.2, "mae": 0.25},
        "seasonal_naive": {"mse": 0.4, "mae": 0.5},
    },
    test_windows=2857,
    all_test_windows=2857,
    validation_loss=0.11,
    best_epoch=2,
    n_parameters=1234,
    epochs=3,
    steps=120,
    timed_steps=117,
    step_ms=12.5,
    samples_per_s=2560.0,
    predicted_step_ms=11.5,
    predicted_bubble=0.11,
    timeline_step=60,
    timeline_step_ms=12.4,
    measured_bubble=0.14,
    stages=[
        StageOutcome("cpu:0", "0-1", 8.0, 8.4, 3 * 2**20, 2**20, None),
        StageOutcome("cpu:1", "2-3", 8.0, 12.0, 3 * 2**20, 2**20, None),
    ],
    peak_rss_growth_bytes=5 * 2**20,
    warnings=["Stage 1 on cpu:1 was slow."],
    environment={"torch": "2.13.0", "cores": "2"},
    best_checkpoint="checkpoints/best.ckpt",
    last_checkpoint="checkpoints/last.ckpt",
)


def refuse_constant(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


def read_strictly(path: Path) -> dict[str, object]:
    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    assert isinstance(read, dict)
    return read


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_file_holds_every_field_under_its_name(tmp_path: Path) -> None:
    write_summary(SUMMARY, tmp_path / "summary.json")

    assert read_strictly(tmp_path / "summary.json") == asdict(SUMMARY)


def test_a_summary_read_back_is_the_one_that_was_written(tmp_path: Path) -> None:
    write_summary(SUMMARY, tmp_path / "summary.json")
    not_tested = replace(SUMMARY, test_metrics=None, baselines={}, best_epoch=None)
    write_summary(not_tested, tmp_path / "other.json")

    assert read_summary(tmp_path / "summary.json") == SUMMARY
    assert read_summary(tmp_path / "other.json") == not_tested


def test_an_error_that_is_not_finite_is_nan_when_read_back(tmp_path: Path) -> None:
    errors = {"mse": math.nan, "mae": 0.5}
    baselines = {"repeat_last": errors}
    summary = replace(
        SUMMARY, test_metrics=errors, baselines=baselines, validation_baselines=baselines
    )
    write_summary(summary, tmp_path / "summary.json")

    read = read_summary(tmp_path / "summary.json")

    of_baselines = [of["repeat_last"] for of in (read.baselines, read.validation_baselines)]
    for found in (read.test_metrics, *of_baselines):
        assert found is not None
        assert math.isnan(found["mse"])
        assert found["mae"] == 0.5


def test_a_summary_of_before_validations_were_recorded_is_read(tmp_path: Path) -> None:
    entries = asdict(SUMMARY)
    del entries["validation_windows"], entries["validation_baselines"]
    (tmp_path / "summary.json").write_text(json.dumps(entries))

    assert read_summary(tmp_path / "summary.json") == SUMMARY


def test_what_is_not_finite_or_not_known_is_null_in_the_file(tmp_path: Path) -> None:
    summary = replace(
        SUMMARY,
        test_metrics={"mse": math.nan, "mae": math.inf},
        step_ms=None,
        measured_bubble=None,
        stages=[replace(SUMMARY.stages[0], measured_ms=math.nan)],
        samples_per_s=-math.inf,
    )
    write_summary(summary, tmp_path / "summary.json")
    read = read_strictly(tmp_path / "summary.json")

    assert read["test_metrics"] == {"mse": None, "mae": None}
    assert read["samples_per_s"] is None
    assert read["step_ms"] is None
    assert read["measured_bubble"] is None
    assert isinstance(read["stages"], list)
    (stage,) = read["stages"]
    assert stage["measured_ms"] is None


def test_the_table_has_model_and_baselines_under_each_metric(show: Show) -> None:
    assert rows(show(results_table(SUMMARY))) == [
        ["Test"],
        [],
        ["MSE", "MAE"],
        ["─" * 37],
        ["model", "0.1234", "0.3000"],
        ["repeat", "last", "value", "0.2000", "0.2500"],
        ["seasonal", "naive", "0.4000", "0.5000"],
        [],
    ]


def test_the_title_says_when_not_all_windows_were_tested(show: Show) -> None:
    limited = replace(SUMMARY, test_windows=640)

    assert show(results_table(limited)).splitlines()[0].strip() == "Test on 640 of 2,857 windows"


def test_the_best_of_each_metric_is_bold(show: Show) -> None:
    text = show(results_table(SUMMARY), styles=True)

    assert "\x1b[1m0.1234\x1b[0m" in text
    assert "\x1b[1m0.2500\x1b[0m" in text
    for other in ("0.3000", "0.2000", "0.4000", "0.5000"):
        assert f"\x1b[1m{other}" not in text
        assert other in text


def test_an_error_that_is_not_finite_is_never_the_best(show: Show) -> None:
    summary = replace(SUMMARY, test_metrics={"mse": math.nan, "mae": -math.inf})
    text = show(results_table(summary), styles=True)

    assert "\x1b[1m0.2000\x1b[0m" in text
    assert "\x1b[1m0.2500\x1b[0m" in text
    assert "nan" in text


def test_a_metric_that_a_baseline_lacks_leaves_a_dash(show: Show) -> None:
    summary = replace(SUMMARY, baselines={"repeat_last": {"mse": 0.2}})

    assert ["repeat", "last", "value", "0.2000", "-"] in rows(show(results_table(summary)))


def test_without_any_finite_error_nothing_but_the_headings_is_bold(show: Show) -> None:
    summary = replace(SUMMARY, test_metrics={"mse": math.nan}, baselines={})

    assert ["model", "nan"] in rows(show(results_table(summary)))
    assert "\x1b[1mnan" not in show(results_table(summary), styles=True)


def test_what_quantiles_hold_stands_below_the_errors_beside_what_they_should(show: Show) -> None:
    errors = dict.fromkeys(("mse", "mae", "rmse", "smape", "mase"), 0.1)
    measured = errors | {"pinball": 0.05, "coverage_99_5": 0.99, "coverage_50": 0.4}

    text = show(results_table(replace(SUMMARY, test_metrics=measured)))

    assert ["MSE", "MAE", "RMSE", "sMAPE", "MASE"] in rows(text)
    assert [line.strip() for line in text.splitlines()[-3:]] == [
        "pinball loss: 0.0500",
        "interval of 99.5 %: holds 99.0 % of the values",
        "interval of 50 %: holds 40.0 % of the values",
    ]
