"""`backtest` forecasts from one origin after the other, also with models trained anew."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.cli.finished import OF_FILE, finish_run, names_in, series
from tests.cli.in_process import Ended, RunCommand, assert_refused

REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "a start after the end": (["start=2030-01-01"], ["start=2030-01-01 leaves no origin"]),
    "a start that is no date": (["start=soon"], ["start=soon", "is not a date"]),
    "more origins than there are": (["n_origins=99"], ["n_origins=99 exceeds the 8 origins"]),
    "a stride of nothing": (["stride=0"], ["stride=0"]),
    "a negative number of refits": (["refit=-1"], ["refit=-1", "use true"]),
    "training without refits": (["trainer.max_epochs=2", "optimizer.lr=1"], ["training alone"]),
    "refits without rows to train on": (
        ["refit=true", "start=2024-01-01T12:00"],
        ["The training part has"],
    ),
    "a file as output": (["output=series.csv"], ["output=series.csv", "folder"]),
}


def result_of(ended: Ended, folder: str = "run/backtest") -> dict[str, Any]:
    assert ended.status == 0, ended.err
    found: dict[str, Any] = json.loads((Path(folder) / "backtest.json").read_text())
    return found


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_origins_in_every_row_come_to_the_test_of_the_run(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_FILE)
    summary = json.loads((run / "summary.json").read_text())

    found = result_of(use_command("backtest", "run=run", "stride=1", draws=True))

    for name in ("mse", "mae"):
        expected = summary["test_metrics"][name]
        assert found["test_metrics"][name] == pytest.approx(expected, rel=1e-5)
        for baseline, errors in summary["baselines"].items():
            assert found["baselines"][baseline][name] == pytest.approx(errors[name], rel=1e-5)
    assert found["test_windows"] == summary["test_windows"]
    assert (found["fits"], len(found["by_step"]["model"]["mae"])) == (0, 3)
    errors = rows_of("run/test_metrics.csv")
    for one, other in zip(rows_of("run/backtest/backtest.csv"), errors, strict=True):
        assert {name: one[name] for name in ("target", "step", "method")} == {
            name: other[name] for name in ("target", "step", "method")
        }
        for name in ("mse", "mae", "mse_in_units", "mae_in_units"):
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-5)
    assert Path("run/backtest/forecast.png").read_bytes().startswith(b"\x89PNG")


def test_by_default_each_row_is_forecast_once_wherever_the_model_runs(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)

    for place in ("[0,0,1,1]", "[0,1,2,3]"):
        ended = use_command(
            "backtest", "run=run", f"placement.device_map={place}", f"output=out{place[5]}"
        )
        assert ended.status == 0, ended.err

    rows = rows_of("out1/forecasts.csv")
    # 24 rows of the test part, of two targets.
    dates = [pd.Timestamp(row["ds"]) for row in rows]
    assert dates[::2] == list(series()["date"].iloc[96:])
    truth = series().set_index("date")
    for date, row in zip(dates, rows, strict=True):
        assert float(row["y"]) == truth.loc[date, row["target"]]
        assert row["unique_id"] == "series"
    assert {row["cutoff"] for row in rows[:6]} == {"2024-01-04 23:00:00"}
    assert Path("out1/forecasts.csv").read_bytes() == Path("out2/forecasts.csv").read_bytes()


def test_a_refit_is_the_run_that_would_have_begun_then(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)

    ended = use_command("backtest", "run=run", "refit=2", "n_origins=4")
    found = result_of(ended)

    assert (found["fits"], found["checkpoint"], found["test_windows"]) == (2, None, 4)
    assert "Fit 2/2: trains on the rows up to 2024-01-05 17:00:00" in ended.out
    rows = rows_of("run/backtest/forecasts.csv")
    # The run has 12 rows for validation.
    then = train_command(*OF_FILE, "data.split=[96,12,12]", run="then")
    assert then.status == 0, then.err
    expected = [row for row in rows_of("then/forecasts.csv") if row["cutoff"] < rows[12]["cutoff"]]
    assert len(expected) == 12
    for row, other in zip(rows, expected, strict=False):
        assert (row["ds"], row["cutoff"], row["target"]) == (
            other["ds"],
            other["cutoff"],
            other["target"],
        )
        assert float(row["y_hat"]) == pytest.approx(float(other["y_hat"]), rel=1e-4)
    later = [float(row["y_hat"]) for row in rows[12:]]
    whole = [float(row["y_hat"]) for row in rows_of("then/forecasts.csv")[12:]]
    assert later != pytest.approx(whole, rel=1e-4)


def test_each_series_of_a_new_file_is_measured_by_itself(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    parts = [series(n, seed).assign(id=name) for name, n, seed in (("x", 30, 1), ("y", 20, 2))]
    pd.concat(parts).to_csv("new.csv", index=False)

    ended = use_command("backtest", "run=run", "data.path=new.csv", "data.series_column=id")

    assert ended.err == ""
    assert result_of(ended)["test_windows"] == 7 + 4
    rows = rows_of("run/backtest/backtest.csv")
    assert {row["unique_id"]: row["n"] for row in rows} == {"x": "7", "y": "4"}
    assert {row["method"] for row in rows} == {"model", "repeat_last", "seasonal_naive"}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_ends_with_one_line_and_leaves_nothing(
    name: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    before = names_in(Path())
    arguments, fragments = REFUSED[name]

    ended = use_command("backtest", "run=run", *arguments)

    assert_refused(ended, fragments)
    assert names_in(Path()) == before


def test_without_a_test_part_other_data_or_refits_are_asked_for(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE, "data.split=[1,0,0]")

    for command in ("backtest", "evaluate"):
        ended = use_command(command, "run=run")
        assert ended.status == 2
        assert "run=run has no test part (data.split=[1,0,0])" in ended.err
        assert "data.path=" in ended.err
    refitted = use_command("backtest", "run=run", "refit=true", "n_origins=2")
    assert result_of(refitted)["fits"] == 2
