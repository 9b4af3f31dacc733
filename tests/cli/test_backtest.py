"""`backtest` forecasts from one origin after the other, also with models trained anew."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from gru_parallel.choices import ERRORS, metric_names
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
        ["Up to the first origin, 2024-01-01 12:00:00, no series has enough rows to train on"],
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

    assert found["test_metrics"] == pytest.approx(summary["test_metrics"], rel=1e-5)
    assert list(found["test_metrics"]) == list(ERRORS)
    for baseline, errors in summary["baselines"].items():
        assert found["baselines"][baseline] == pytest.approx(errors, rel=1e-5)
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


def test_gaps_before_the_test_part_are_filled_as_in_the_test(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    table = series()
    table.loc[[91, 92], "a"] = np.nan
    table.to_csv("gaps.csv", index=False)
    ended = train_command(
        *OF_FILE, "data.path=gaps.csv", "data.missing=interpolate", "data.split=[0.8,0,0.2]"
    )
    assert ended.status == 0, ended.err
    summary = json.loads(Path("run/summary.json").read_text())

    ended = use_command("backtest", "run=run", "stride=1")

    expected = pytest.approx(summary["test_metrics"], rel=1e-5)
    assert result_of(ended)["test_metrics"] == expected
    assert ended.out.count("Filled in: 2 of 288 values of the training part,") == 1


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def by_hand(forecasts: pd.DataFrame, training: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Measure what backtest.csv has of the model, each value by itself, with numpy.

    Args:
        forecasts: rows of a forecasts.csv.
        training: rows of the training part of the run.
    """
    scale = training.std(ddof=0)[forecasts["target"]].to_numpy()
    naive = training.diff(4).abs().mean()[forecasts["target"]].to_numpy()
    y, f = (forecasts[name].to_numpy() for name in ("y", "y_hat"))
    quantiles = [forecasts[f"y_hat_{level}"].to_numpy() for level in QUANTILES]
    losses = [
        np.where(y > q, level * (y - q), (1 - level) * (q - y))
        for level, q in zip(QUANTILES, quantiles, strict=True)
    ]
    return {
        "mse": ((y - f) / scale) ** 2,
        "mae": np.abs(y - f) / scale,
        "smape": 2 * np.abs(y - f) / (np.abs(y) + np.abs(f)),
        "mase": np.abs(y - f) / naive,
        "pinball": np.mean(losses, axis=0) / scale,
        "coverage_90": 1.0 * ((quantiles[0] <= y) & (y <= quantiles[4])),
        "coverage_50": 1.0 * ((quantiles[1] <= y) & (y <= quantiles[3])),
    }


def test_quantiles_are_measured_over_all_origins_by_step_and_by_target(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    levels = f"model.quantiles=[{','.join(map(str, QUANTILES))}]"
    run = finish_run(train_command, *OF_FILE, "model.loss=quantile", levels)
    tested = json.loads((run / "summary.json").read_text())["test_metrics"]

    ended = use_command("backtest", "run=run", "stride=1")

    found = result_of(ended)
    assert found["test_metrics"] == pytest.approx(tested, rel=1e-5)
    assert list(found["test_metrics"]) == list(metric_names(QUANTILES))
    assert list(found["baselines"]["repeat_last"]) == list(ERRORS)
    forecasts = pd.read_csv(run / "backtest" / "forecasts.csv")
    # The training part has 70 % of the rows.
    expected = forecasts.assign(**by_hand(forecasts, series().iloc[:84].drop(columns="date")))
    expected["step"] = expected.groupby(["cutoff", "target"]).cumcount() + 1
    names = [name for name in metric_names(QUANTILES) if name != "rmse"]
    for name in names:
        assert found["test_metrics"][name] == pytest.approx(expected[name].mean(), rel=1e-4)
        of_steps = expected.groupby("step")[name].mean().tolist()
        assert found["by_step"]["model"][name] == pytest.approx(of_steps, rel=1e-4)
    of_steps = np.sqrt(expected.groupby("step")["mse"].mean()).tolist()
    assert found["by_step"]["model"]["rmse"] == pytest.approx(of_steps, rel=1e-4)
    table = pd.read_csv(run / "backtest" / "backtest.csv").set_index(["target", "step"])
    of_model = table[table["method"] == "model"]
    means = expected.groupby(["target", "step"])[names].mean().loc[of_model.index]
    np.testing.assert_allclose(of_model[names], means, rtol=1e-4)
    assert table[table["method"] != "model"]["coverage_90"].isna().all()
    share = f"{100 * found['test_metrics']['coverage_90']:.1f}"
    assert f"interval of 90 %: holds {share} % of the values" in ended.out


def test_models_trained_anew_are_measured_in_the_units_of_the_run(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    levels = f"model.quantiles=[{','.join(map(str, QUANTILES))}]"
    run = finish_run(train_command, *OF_FILE, "model.loss=quantile", levels)

    found = result_of(use_command("backtest", "run=run", "refit=2", "n_origins=4"))

    forecasts = pd.read_csv(run / "backtest" / "forecasts.csv")
    rows = series().drop(columns="date")
    expected = by_hand(forecasts, rows.iloc[:84])
    for name in ("mse", "mae", "smape", "pinball", "coverage_90"):
        assert found["test_metrics"][name] == pytest.approx(expected[name].mean(), rel=1e-4)
    # Each fit has a training part of its own: all rows but the newest 12 before its first origin.
    of_fits = [
        by_hand(of_fit, rows.iloc[:n_rows])["mase"]
        for of_fit, n_rows in ((forecasts[:12], 96), (forecasts[12:], 102))
    ]
    assert found["test_metrics"]["mase"] == pytest.approx(np.mean(of_fits), rel=1e-4)


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
    found = result_of(ended)
    assert found["test_windows"] == 7 + 4
    # Other data has no training part, but rows before the first origin.
    assert found["test_metrics"]["mase"] is None
    assert found["by_step"]["repeat_last"]["mase"] == [None] * 3
    rows = rows_of("run/backtest/backtest.csv")
    assert {row["unique_id"]: row["n"] for row in rows} == {"x": "7", "y": "4"}
    assert {row["mase"] for row in rows} == {""}
    assert all(float(row["mase_of_history"]) > 0 for row in rows)
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
