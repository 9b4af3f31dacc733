"""Runs that differ in their seed alone are one row, and validation alone says which is the best."""

import csv
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gru_parallel.report.comparison import ComparedRun, Comparison, Spread, compare
from gru_parallel.report.comparison_table import comparison_table, sentences, write_comparison
from tests.report.test_summary import SUMMARY


def run(name: str, val: float, test: float, baseline: float = 0.2, **settings: Any) -> ComparedRun:
    """A run of three settings and those that are given, by their last names."""
    named = {"seed": 0, "model.loss": "mse", "data.horizon": 24, "model.num_layers": 2}
    others = ("logger.csv.save_dir", "model.quantiles", "data.weight", "data.validation_path")
    full = {full.rpartition(".")[2]: full for full in (*named, *others, "data.calendar")}
    named |= {full[key]: value for key, value in settings.items()}
    summary = replace(
        SUMMARY,
        test_metrics={"mse": test},
        baselines={"repeat_last": {"mse": baseline}},
        validation_loss=val,
    )
    return ComparedRun(name, named, summary, {"val/loss": val, "val/mse": val})


SHALLOW = [run("a", 0.3, 0.1, seed=0), run("b", 0.5, 0.3, seed=1), run("c", 0.1, 0.2, seed=2)]
DEEP = [run("d", 0.2, 0.4, seed=0, num_layers=4), run("e", 0.3, 0.5, seed=1, num_layers=4)]


def test_seeds_make_one_row_with_mean_and_sample_deviation() -> None:
    (comparison,) = compare(SHALLOW)

    (row,) = comparison.rows
    assert row.seeds == [0, 1, 2]
    assert row.settings == {}
    spread = row.metrics["val/loss"]
    assert (spread.mean, spread.deviation) == (pytest.approx(0.3), pytest.approx(0.2))
    assert (spread.least, spread.most, spread.n) == (0.1, 0.5, 3)


def test_the_best_is_chosen_by_validation_whatever_the_test_says() -> None:
    (comparison,) = compare([SHALLOW[0], DEEP[1], DEEP[0], SHALLOW[1]])

    # Mean losses of 0.4 and 0.25; in the test the first row is the better one.
    assert [row.settings for row in comparison.rows] == [
        {"model.num_layers": 2},
        {"model.num_layers": 4},
    ]
    assert comparison.best == 1
    assert comparison.best_run is not None
    assert comparison.best_run.name == "d"


def test_where_runs_end_up_makes_no_row_of_its_own() -> None:
    runs = [run("a", 0.3, 0.1, save_dir="a"), run("b", 0.3, 0.1, save_dir="b", seed=1)]

    assert [len(row.runs) for row in compare(runs)[0].rows] == [2]


def test_losses_of_different_kinds_are_compared_by_the_squared_error() -> None:
    mae = run("a", 0.2, 0.1, loss="mae")
    comparison = compare([replace(mae, validation={"val/loss": 0.2, "val/mse": 0.4}), SHALLOW[0]])[
        0
    ]

    assert (comparison.chosen_by, comparison.best) == ("val/mse", 1)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (run("z", 0.1, 0.1, baseline=0.3, horizon=48), "they differ in data.horizon"),
        (run("z", 0.1, 0.1, baseline=0.3), "their test windows are not the same"),
    ],
)
def test_runs_on_other_windows_are_said_not_to_be_comparable(
    other: ComparedRun, reason: str
) -> None:
    comparisons = compare([SHALLOW[0], DEEP[0], other])

    assert [len(each.runs) for each in comparisons] == [2, 1]
    assert (
        f"Not comparable: the runs of one table with those of another; {reason}."
        in (sentences(comparisons)[0])
    )


def test_without_a_test_the_settings_of_the_data_tell_windows_apart() -> None:
    untested = [
        replace(each, summary=replace(each.summary, baselines={}, test_metrics=None))
        for each in (SHALLOW[0], DEEP[0], run("z", 0.1, 0.1, horizon=48))
    ]

    assert [len(each.runs) for each in compare(untested)] == [2, 1]


def test_heads_that_forecast_the_same_are_compared_without_a_test() -> None:
    untested = [
        replace(
            each,
            settings={**each.settings, "model.head": head, "data.centre": centre, head: 1},
            summary=replace(each.summary, baselines={}, test_metrics=None),
        )
        for each, head, centre in (
            (SHALLOW[0], "window", "last"),
            (DEEP[0], "decoder", "standardize"),
            (DEEP[1], "every_step", "none"),
        )
    ]

    comparisons = compare(untested)

    assert [len(each.runs) for each in comparisons] == [2, 1]
    assert "they differ in model.head. Each table" in sentences(comparisons)[0]


def test_a_run_that_is_counted_twice_is_named() -> None:
    said = sentences(compare([*SHALLOW, run("again", 0.3, 0.1, seed=0)]))

    assert said[-1] == "Counted twice: again has the settings and the seed of another run."
    assert not any("Counted" in line for line in sentences(compare(SHALLOW)))


def test_a_metric_that_is_not_finite_is_never_the_best() -> None:
    (comparison,) = compare([run("a", math.nan, 0.1), DEEP[0]])

    assert comparison.best == 1
    assert math.isnan(Spread.of([math.nan, 0.1]).mean)


def test_the_table_has_the_baselines_and_marks_the_best() -> None:
    screen = StringIO()
    Console(file=screen, width=100).print(comparison_table(compare([*SHALLOW, *DEEP])[0]))

    lines = [line.split() for line in screen.getvalue().splitlines()]
    first = ["0,", "1,", "2", "0.3000", "±", "0.2000", "0.2000", "±", "0.1000"]
    assert ["2", *first, "12.5", "ms"] in lines
    assert ["repeat", "last", "value", "-", "0.2000", "-"] in lines
    assert [line[0] for line in lines if "best" in line] == ["4"]


def test_the_file_has_every_number_in_full(tmp_path: Path) -> None:
    comparisons: list[Comparison] = compare([*SHALLOW, *DEEP])
    write_comparison(comparisons, tmp_path / "comparison.csv")

    with (tmp_path / "comparison.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["seeds"], first["runs"], first["folders"]) == ("0 1 2", "3", "a b c")
    assert float(first["val/loss sd"]) == pytest.approx(0.2)
    assert (first["best"], second["best"]) == ("0", "1")
    assert float(second["test/mse max"]) == 0.5


def test_losses_that_count_rows_otherwise_are_of_another_kind() -> None:
    comparisons = compare([SHALLOW[0], run("w", 0.1, 0.1, weight="w")])

    assert [(each.chosen_by, each.other_losses) for each in comparisons] == [
        ("val/mse", ["data.weight"])
    ]
    assert sentences(comparisons)[0] == (
        "Losses are not comparable here, as the runs differ in data.weight; val/mse decides."
    )
    assert not any("Losses" in line for line in sentences(compare([*SHALLOW, *DEEP])))


def test_pinball_losses_over_other_quantiles_are_not_put_side_by_side() -> None:
    def with_pinball(name: str, quantiles: list[float] | None) -> ComparedRun:
        found = run(name, 0.2, 0.1, loss="quantile", quantiles=quantiles)
        summary = replace(found.summary, test_metrics={"mse": 0.1, "pinball": 0.0371})
        return replace(found, summary=summary)

    default, same, other = (
        with_pinball(name, levels)
        for name, levels in (("a", None), ("b", [0.1, 0.5, 0.9]), ("c", [0.05, 0.5, 0.95]))
    )
    for runs, is_shown in (((default, same), True), ((default, other), False)):
        (comparison,) = compare(runs)
        screen = StringIO()
        Console(file=screen, width=100).print(comparison_table(comparison))
        assert ("0.0371" in screen.getvalue()) == is_shown
        assert any("pinball" in line for line in sentences([comparison])) != is_shown
        assert (comparison.chosen_by == "val/loss") == is_shown


def validated(each: ComparedRun, n_windows: int, mse: float) -> ComparedRun:
    """Have a run know on which windows it was validated."""
    baselines = {"repeat_last": {"mse": mse}}
    summary = replace(each.summary, validation_windows=n_windows, validation_baselines=baselines)
    return replace(each, summary=summary)


@pytest.mark.parametrize("other", [(160, 0.3), (640, 0.4)])
def test_runs_that_were_validated_on_other_windows_have_no_best_of_both(
    other: tuple[int, float],
) -> None:
    alike = [validated(each, 640, 0.3) for each in (SHALLOW[0], DEEP[0])]

    comparisons = compare([*alike, validated(SHALLOW[1], *other)])

    assert [len(each.runs) for each in comparisons] == [2, 1]
    assert "another; their validation windows are not the same." in sentences(comparisons)[0]


def test_where_an_earlier_version_has_recorded_no_validation_the_settings_count() -> None:
    some = run("old", 0.1, 0.2)
    summary = replace(some.summary, validation_windows=0, validation_baselines={})
    old, new = replace(some, summary=summary), validated(run("new", 0.2, 0.3), 40, 0.5)
    assert len(compare([old, new])) == 1

    limited = replace(old, settings={**old.settings, "trainer.limit_val_batches": 2})
    assert len(compare([limited, new])) == 2


def test_the_name_of_a_file_to_validate_on_does_not_matter() -> None:
    runs = [run(path, 0.1, 0.1, validation_path=path) for path in ("valid.csv", "moved.csv")]

    assert len(compare([validated(each, 640, 0.3) for each in runs])) == 1


def test_runs_that_were_validated_on_other_files_have_no_best_of_both() -> None:
    other = run("v", 0.1, 0.1, validation_path="valid.csv")
    comparisons = compare([SHALLOW[0], other])

    assert [len(each.runs) for each in comparisons] == [1, 1]
    assert "they differ in data.validation_path" in sentences(comparisons)[0]
    alike = run("w", 0.1, 0.1, validation_path="valid.csv", num_layers=4)
    assert len(compare([alike, other])) == 1
