"""Losses of quantiles and distributions, from the command line to what is read after a run."""

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gru_parallel.choices import ERRORS
from tests.cli.finished import LENGTH, OF_FILE, finish_run, series
from tests.cli.in_process import (
    SMALL,
    RunCommand,
    assert_refused,
    assert_same_weights,
    losses_of,
    summary_of,
)

OF_COUNTS = (
    *(text for text in OF_FILE if not text.startswith(("data.path", "data.target"))),
    "data.path=counts.csv",
    "data.scaling=none",
    "data.centre=scale",
    "model.loss=negative_binomial",
)


QUANTILES = ["y_hat_0.1", "y_hat_0.5", "y_hat_0.9"]


def write_counts() -> None:
    """Leave two columns of counts in counts.csv."""
    random = np.random.default_rng(0)
    counts = pd.DataFrame({name: random.poisson(mean, 120) for name, mean in (("a", 2), ("b", 40))})
    counts.insert(0, "date", pd.date_range("2024-01-01", periods=120, freq="D"))
    counts.to_csv("counts.csv", index=False)


@pytest.mark.parametrize(
    "settings",
    [
        ("model.loss=quantile", "model.quantiles=[0.05,0.5,0.95]", "data.centre=standardize"),
        ("model.loss=normal", "model.head=every_step", "data.centre=none"),
    ],
)
def test_a_run_is_the_same_on_every_device_map(
    settings: tuple[str, ...], train_command: RunCommand
) -> None:
    options = [*SMALL, *settings, "schedule.n_micro_batches=2", "trainer.max_epochs=1"]
    one = train_command(*options, "placement.device_map=[0,0,0,0]")
    two = train_command(*options, "placement.device_map=[0,0,1,1]", run="two")

    assert losses_of(one) == losses_of(two)
    assert_same_weights(one, two)
    assert summary_of(one)["test_metrics"] == summary_of(two)["test_metrics"]


def test_a_run_of_counts_is_evaluated_predicts_is_backtested_and_exported(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    write_counts()
    run = train_command(*OF_COUNTS)
    assert run.status == 0, run.err
    for command in (
        ("evaluate", "output=there"),
        ("predict", "output=forecast.csv", "names={y_hat_0.9: high}"),
        ("backtest", "output=back", "n_origins=2"),
        ("export", "format=torch", "output=export"),
    ):
        ended = use_command(*command, f"run={run.folder}", draws=True)
        assert ended.status == 0, ended.err

    metrics = json.loads(Path("there/evaluation.json").read_text())["test_metrics"]
    assert metrics == summary_of(run)["test_metrics"]
    assert list(metrics) == [*ERRORS, "pinball", "coverage_80"]
    assert "interval of 80 %: holds " in run.out
    columns = ["unique_id", "ds", "cutoff", "target", "y_hat", *QUANTILES]
    for path in (run.folder / "forecasts.csv", Path("back/forecasts.csv")):
        table = pd.read_csv(path)
        assert list(table) == [*columns, "y"]
        assert (table[QUANTILES].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
        assert (table[QUANTILES] == table[QUANTILES].round()).all(axis=None)
    found = pd.read_csv("forecast.csv")
    window = torch.from_numpy(pd.read_csv("counts.csv")[["a", "b"]].to_numpy()[-LENGTH:])
    forecast = runpy.run_path("export/load_pt.py")["forecast"](window.unsqueeze(0))
    assert forecast.shape == (1, 3, 2, 2)
    assert forecast[0, :, :, 0].flatten().tolist() == pytest.approx(
        found["y_hat"].tolist(), rel=1e-5
    )
    assert list(found) == [*columns[:-1], "high"]


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        (
            ["model.quantiles=[0.1,0.9]"],
            ["model.quantiles=[0.1,0.9] is of no use with model.loss=mse", "or leave it out"],
        ),
        (
            ["model.loss=quantile", "model.quantiles=[0.1,0.9]"],
            ["model.quantiles=[0.1,0.9] lacks the median", "use model.quantiles=[0.1,0.5,0.9]"],
        ),
        (
            ["model.loss=normal", "model.quantiles=[0.9,0.1]"],
            ["model.quantiles=[0.9,0.1] is not valid", "ascending, as in [0.1,0.5,0.9]"],
        ),
        (
            ["model.loss=normal", "model.quantiles=[low]"],
            ["model.quantiles=[low] has the wrong type"],
        ),
        (
            ["model.loss=negative_binomial"],
            ["data.scaling=standardize makes other numbers of them", "use data.scaling=none"],
        ),
        (
            ["model.loss=negative_binomial", "data.scaling=none"],
            ["data.centre=last subtracts something from them", "use data.centre=scale, or none"],
        ),
        (
            ["model.loss=negative_binomial", "data.scaling=none", "data.centre=scale"],
            ["whole numbers from 0 on, and column 'b' holds", "use model.loss=normal or quantile"],
        ),
        (["model.loss=poisson"], ["model.loss=poisson is not a valid choice; use one of mse, mae"]),
        (["data.scaling=log"], ["data.scaling=log is not a valid choice"]),
    ],
)
def test_what_makes_no_sense_is_refused(
    settings: list[str], fragments: list[str], train_command: RunCommand
) -> None:
    series().to_csv("series.csv", index=False)

    assert_refused(train_command(*OF_FILE, *settings), fragments)
    assert not Path("run").exists()


def test_quantiles_of_a_finished_run_stay_what_they_are(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_FILE, "model.loss=quantile")

    ended = use_command("evaluate", f"run={run}", "model.quantiles=[0.2,0.5,0.8]")

    assert_refused(ended, ["model.quantiles=[0.2,0.5,0.8] is another than that of the run"])
