"""What commands make of data that is not the run's own, and how they tell that it is not."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gru_parallel.data import Table
from gru_parallel.data.lorenz96 import lorenz96_table
from tests.cli.finished import OF_FILE, finish_run, series
from tests.cli.in_process import Ended, RunCommand, assert_refused

OWN: dict[str, tuple[str, ...]] = {
    "another batch": ("data.batch_size=4",),
    "times that need not be even": ("data.frequency=none",),
    "times at a step": ("data.frequency=1h", "data.missing=interpolate"),
    "another way to read it": ("data.separator=comma", "data.time_column=date"),
    "the same name": ("data.path=series.csv",),
    "another place": ("data.path=moved/here.csv", "data.missing=interpolate"),
}
DROPPED = (*OF_FILE, "data.path=gaps.csv", "data.missing=drop", "data.frequency=none")
"""A run on gaps.csv, without two of its rows."""


def write_gaps(name: str, n_rows: int = 120) -> None:
    gaps = series(n_rows)
    gaps.loc[[5, 60], "a"] = np.nan
    gaps.to_csv(name, index=False)


def metrics_of(ended: Ended, name: str) -> dict[str, Any]:
    assert ended.status == 0, ended.err
    found: dict[str, Any] = json.loads(Path(name).read_text())["test_metrics"]
    # MASE is unknown where there is no training part.
    return {metric: error for metric, error in found.items() if error is not None}


@pytest.mark.parametrize("scaling", ["none", "standardize"])
def test_gaps_before_the_first_value_are_the_mean_of_the_training_part(
    scaling: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    settings = (f"data.scaling={scaling}", "data.missing=interpolate")
    finish_run(train_command, *OF_FILE, *settings)
    gaps = series(40, seed=1)
    gaps.loc[:2, ["a", "c"]] = np.nan
    mean = series().iloc[:84].mean(numeric_only=True)
    for name, table in {"gaps": gaps, "filled": gaps.fillna(mean)}.items():
        table.to_csv(f"{name}.csv", index=False)
        # Its only window begins with the gaps.
        table.iloc[:8].to_csv(f"{name}-start.csv", index=False)

    for command, file in (("evaluate", "evaluation.json"), ("backtest", "backtest.json")):
        found, expected = (
            metrics_of(
                use_command(command, "run=run", f"data.path={name}.csv", f"output={name}"),
                f"{name}/{file}",
            )
            for name in ("gaps", "filled")
        )
        assert found == pytest.approx(expected, rel=1e-6)
    forecasts = []
    for name in ("gaps", "filled"):
        path = f"data.path={name}-start.csv"
        ended = use_command("predict", "run=run", path, f"output={name}-forecasts.csv")
        assert ended.status == 0, ended.err
        forecasts.append(pd.read_csv(f"{name}-forecasts.csv")["y_hat"].tolist())
    assert forecasts[0] == pytest.approx(forecasts[1], rel=1e-6)


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
@pytest.mark.parametrize("name", OWN)
def test_only_the_test_part_of_the_run_s_own_data_is_tested(
    name: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_FILE)
    expected = json.loads((run / "summary.json").read_text())
    Path("moved").mkdir()
    series().to_csv("moved/here.csv", index=False)

    for command, arguments in (("evaluate", []), ("backtest", ["stride=1"])):
        ended = use_command(command, "run=run", f"output={command}", *arguments, *OWN[name])
        file = f"{command}/{'evaluation' if command == 'evaluate' else command}.json"
        found = metrics_of(ended, file)
        same = {name: expected["test_metrics"][name] for name in found}
        assert found == pytest.approx(same, rel=1e-5)
        assert json.loads(Path(file).read_text())["test_windows"] == expected["test_windows"]
        is_named = any(setting.startswith("data.path") for setting in OWN[name])
        said = "The series are those that run=run was trained on, so only its test part is tested"
        assert (said in ended.err) == is_named


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
def test_rows_of_the_training_in_a_file_with_newer_ones_are_said(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    series(140).to_csv("grown.csv", index=False)
    series(140).iloc[90:].to_csv("newer.csv", index=False)

    grown = use_command("evaluate", "run=run", "data.path=grown.csv")
    newer = use_command("evaluate", "run=run", "data.path=newer.csv")
    split = use_command("evaluate", "run=run", "data.path=grown.csv", "data.split=[90,30,20]")

    assert (grown.status, newer.status, split.status) == (0, 0, 0)
    assert "The first 84 rows are those that run=run was trained on" in grown.err
    assert newer.err == split.err == ""


def test_what_makes_other_rows_of_the_run_s_own_data_is_refused_without_a_split(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    write_gaps("gaps.csv")
    finish_run(train_command, *DROPPED)

    for command in ("evaluate", "backtest"):
        filled = (command, "run=run", "data.missing=interpolate")
        fragments = ["With data.missing", "trained with 83 rows", "data.split=..."]
        assert_refused(use_command(*filled), fragments)
        assert use_command(*filled, "data.split=[0.7,0.1,0.2]").status == 0


@pytest.mark.filterwarnings("default::gru_parallel.errors.DataWarning")
@pytest.mark.parametrize("path", ["gaps.csv", "moved.csv"])
def test_other_rows_of_the_run_s_own_data_are_refused_also_where_it_is_named(
    path: str, train_command: RunCommand, use_command: RunCommand
) -> None:
    for name in ("gaps.csv", "moved.csv"):
        write_gaps(name)
    finish_run(train_command, *DROPPED)
    filled = ("run=run", "data.missing=interpolate", f"data.path={path}")

    for command in ("evaluate", "backtest"):
        assert_refused(use_command(command, *filled), ["With data.missing", "trained with 83 rows"])
        split = use_command(command, *filled, "data.split=[0.7,0.1,0.2]")
        assert (split.status, split.err) == (0, "")
    # A file that begins with these rows has others, too.
    write_gaps(path, 140)
    grown = use_command("evaluate", *filled)
    assert grown.status == 0
    assert "The first 83 rows are those that run=run was trained on" in grown.err


def test_own_data_that_has_changed_is_forecast_by_new_models_alone(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    finish_run(train_command, *OF_FILE)
    series(121).to_csv("series.csv", index=False)

    assert_refused(use_command("backtest", "run=run"), ["no longer that of run=run", "data.path="])
    assert use_command("backtest", "run=run", "refit=true", "n_origins=1").status == 0


def returned(n_rows: int = 120) -> Table:
    """What data=own has here: other data from call to call, once it has been patched."""
    return lorenz96_table(n_rows, 4, seed=0)


def test_who_has_a_source_of_ones_own_is_told_how_to_name_another(
    train_command: RunCommand, use_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ("data=own", f"data.source={__name__}.returned")
    sizes = (
        setting for setting in OF_FILE if not setting.startswith(("data=", "data.path", "data.t"))
    )
    finish_run(train_command, *own, *sizes)
    monkeypatch.setattr(f"{__name__}.lorenz96_table", partial(lorenz96_table, forcing=9.0))

    ended = use_command("evaluate", "run=run")

    assert_refused(ended, ["no longer that", "with data.source=... or data.arguments=..."])
    assert use_command("evaluate", "run=run", "data.arguments={n_rows: 90}").status == 0
