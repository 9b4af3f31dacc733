"""A run with segments, channels by themselves and a decoder is used as any other."""

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.cli.finished import LENGTH, OF_FILE, finish_run, series
from tests.cli.in_process import RunCommand

OF_SEGMENTS = (
    *(setting for setting in OF_FILE if not setting.startswith("data.target")),
    "model.encoder=segments",
    "model.segment_length=4",
    "model.per_channel=true",
    "model.head=decoder",
    "model.dropout=0.2",
    "data.horizon=6",
    "schedule.n_chunks=2",
)


def test_it_is_evaluated_predicts_is_backtested_and_exported(
    train_command: RunCommand, use_command: RunCommand
) -> None:
    run = finish_run(train_command, *OF_SEGMENTS)
    for command in (
        ("evaluate", "output=there"),
        ("predict", "output=forecast.csv"),
        ("backtest", "output=back", "n_origins=2"),
        ("export", "format=torch", "output=export"),
    ):
        ended = use_command(*command, f"run={run}")
        assert ended.status == 0, ended.err

    metrics = json.loads(Path("there/evaluation.json").read_text())["test_metrics"]
    assert metrics == json.loads((run / "summary.json").read_text())["test_metrics"]
    found = pd.read_csv("forecast.csv")
    window = torch.from_numpy(pd.read_csv("series.csv")[["a", "b", "c"]].to_numpy()[-LENGTH:])
    forecast = runpy.run_path("export/load_pt.py")["forecast"](window.unsqueeze(0))
    assert forecast.shape == (1, 6, 3)
    assert forecast[0].flatten().tolist() == pytest.approx(found["y_hat"].tolist(), abs=1e-4)


def test_every_column_has_to_be_a_target(train_command: RunCommand) -> None:
    series().to_csv("series.csv", index=False)

    ended = train_command(*OF_FILE, "model.per_channel=true")

    assert ended.status == 2
    assert "data.target=[b,a] is not all of them in their order, [a,b,c]" in ended.err
