"""Options of the config groups, and flags, from the command line."""

import csv
from math import cos, pi
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from gru_parallel.config.overrides import compose_config
from gru_parallel.engine.tf32 import uses_tf32
from tests.cli.composing import load_configs_once
from tests.cli.in_process import (
    SMALL,
    Ended,
    RunCommand,
    checkpoint_of,
    losses_of,
    rows_of,
    summary_of,
)
from tests.grids import covering

NO_TEST = "trainer.limit_test_batches=0"
NO_VALIDATION = "trainer.limit_val_batches=0"


RATES = (*SMALL, NO_TEST, NO_VALIDATION, "optimizer.lr=0.01")
"""A run whose rates alone are looked at."""


def rates_of(ended: Ended) -> list[float]:
    return [float(row["lr"]) for row in rows_of(ended)]


def test_a_cosine_of_the_rate_spans_the_run(train_command: RunCommand) -> None:
    rates = rates_of(train_command(*RATES, "lr_scheduler=cosine"))

    assert rates == pytest.approx([0.005 * (1 + cos(pi * step / 6)) for step in range(6)])


def test_one_cycle_of_the_rate_spans_the_run(train_command: RunCommand) -> None:
    rates = rates_of(train_command(*RATES, "lr_scheduler=one_cycle"))

    # PyTorch begins at a 25th of the rate, and ends at a ten-thousandth of that.
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates[-1] == pytest.approx(0.01 / 25 / 1e4)
    assert 0.008 < max(rates) <= 0.01


def test_a_schedule_of_the_rate_by_plateaus_watches_the_validation(
    train_command: RunCommand,
) -> None:
    options = [NO_TEST, "optimizer=sgd", "optimizer.lr=1", "lr_scheduler.patience=0"]
    threshold = "+lr_scheduler.threshold=0.9"
    ended = train_command(
        *SMALL, "lr_scheduler=plateau", *options, threshold, "trainer.max_epochs=4"
    )

    assert rates_of(ended) == [1.0] * 6 + [0.5] * 3 + [0.25] * 3


def test_a_plateau_counts_the_epochs_that_have_a_validation(train_command: RunCommand) -> None:
    options = [NO_TEST, "optimizer=sgd", "optimizer.lr=1", "lr_scheduler.patience=0"]
    threshold = "+lr_scheduler.threshold=0.9"
    every = ["trainer.check_val_every_n_epoch=2", "trainer.max_epochs=5"]
    ended = train_command(*SMALL, "lr_scheduler=plateau", *options, threshold, *every)

    assert rates_of(ended) == [1.0] * 12 + [0.5] * 3


def test_a_plateau_of_the_training_loss_needs_no_validation(train_command: RunCommand) -> None:
    options = [NO_TEST, "optimizer=sgd", "optimizer.lr=1", "lr_scheduler.patience=0"]
    threshold = "+lr_scheduler.threshold=0.9"
    watched = ["lr_scheduler.monitor=train/loss", "trainer.limit_val_batches=0"]
    ended = train_command(
        *SMALL, "lr_scheduler=plateau", *options, threshold, *watched, "trainer.max_epochs=3"
    )

    assert rates_of(ended) == [1.0] * 6 + [0.5] * 3


def test_whole_numbers_may_begin_with_a_zero(train_command: RunCommand) -> None:
    zeros = ["trainer.max_epochs=01", "trainer.num_sanity_val_steps=02"]
    ended = train_command(*SMALL, NO_TEST, *zeros)

    assert len(rows_of(ended)) == 3


def test_a_folder_of_configs_of_ones_own_adds_options(
    train_command: RunCommand, plan_command: RunCommand, in_tmp_path: Path
) -> None:
    experiment = in_tmp_path / "own" / "experiment" / "mine.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text("# @package _global_\nmodel:\n  num_layers: 2\n")

    short = [*SMALL, NO_TEST, NO_VALIDATION, "trainer.max_epochs=1"]
    ended = train_command(*short, "experiment=mine", flags=("--config-dir", "own"))
    planned = plan_command(*SMALL, "hydra.searchpath=[own]", "experiment=mine")

    assert ended.status == 0, ended.err
    assert planned.status == 0, planned.err
    assert len([name for name in checkpoint_of(ended)["state_dict"] if "weight_hh" in name]) == 2


def test_the_loggers_write_into_the_folder_of_the_run(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "logger=all", "trainer.max_epochs=1")

    logged = pd.read_csv(ended.folder / "csv" / "metrics.csv")
    assert logged["train/loss"].dropna().tolist() == [float(loss) for loss in losses_of(ended)]
    events = EventAccumulator(str(ended.folder / "tensorboard")).Reload()
    scalars = torch.tensor([event.value for event in events.Scalars("train/loss")])
    assert scalars.tolist() == [float(loss) for loss in losses_of(ended)]
    assert {"lr-AdamW", "val/mse", "samples/s"} <= set(events.Tags()["scalars"])
    summary = summary_of(ended)
    assert [e.value for e in events.Scalars("best/val_loss")] == [
        pytest.approx(summary["validation_loss"])
    ]
    assert logged["best/test_mse"].dropna().tolist() == [summary["test_metrics"]["mse"]]
    of_start = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hyperparameters = HParamsPluginData.FromString(of_start).session_start_info.hparams
    assert hyperparameters["model/hidden_size"].number_value == 4
    assert hyperparameters["folder"].string_value == str(ended.folder)
    for folder in ("csv", "tensorboard"):
        assert "hidden_size: 4" in (ended.folder / folder / "hparams.yaml").read_text()


@covering(1, optimizer=["adam", "adamw", "sgd"], loss=["mse", "mae", "huber"])
def test_optimisers_and_losses_go_together(
    optimizer: str, loss: str, train_command: RunCommand
) -> None:
    ended = train_command(
        *RATES, "trainer.max_steps=1", f"optimizer={optimizer}", f"model.loss={loss}"
    )

    assert len(losses_of(ended)) == 1
    state = checkpoint_of(ended)["optimizer_states"][0]["state"]["model.gru.weight_ih_l0"]
    assert ("momentum_buffer" in state) == (optimizer == "sgd")


def test_a_head_at_every_step_trains(train_command: RunCommand) -> None:
    settings = ["model.head=every_step", "data.centre=none", "data.target=x1"]
    ended = train_command(*SMALL, *settings, "trainer.max_epochs=1")

    assert checkpoint_of(ended)["state_dict"]["model.head.linear.weight"].shape == (1, 4)
    assert summary_of(ended)["test_metrics"]["mse"] > 0


def test_fast_dev_run_runs_one_batch_of_each_part(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, "trainer.fast_dev_run=true")

    assert len(rows_of(ended)) == 1
    assert not (ended.folder / "checkpoints").exists()
    assert summary_of(ended)["best_checkpoint"] is None


def test_without_validation_the_last_checkpoint_is_tested(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, NO_VALIDATION, "trainer.max_epochs=1")

    summary = summary_of(ended)
    assert summary["best_checkpoint"] is None
    assert Path(summary["last_checkpoint"]).is_file()
    assert summary["test_metrics"]["mse"] > 0


_PLAIN: list[str] = []
"""Losses in float32."""


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true", "bf16-true", "16-true"])
def test_another_precision_gives_other_losses(precision: str, train_command: RunCommand) -> None:
    # What Adam divides by is too small for float16.
    settings = [*SMALL, NO_TEST, "optimizer=sgd", "trainer.max_epochs=1"]
    ended = train_command(*settings, f"trainer.precision={precision}")

    _PLAIN.extend(losses_of(train_command(*settings, run="plain")) if not _PLAIN else [])
    pairs = list(zip(losses_of(ended), _PLAIN, strict=True))
    assert all(float(one) == pytest.approx(float(other), rel=0.01) for one, other in pairs)
    assert any(one != other for one, other in pairs)


def test_tf32_is_forbidden_for_a_run_and_no_longer(
    train_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    fit = pl.Trainer.fit

    def noted(trainer: pl.Trainer, *arguments: Any, **options: Any) -> None:
        seen.append(uses_tf32())
        fit(trainer, *arguments, **options)

    monkeypatch.setattr(pl.Trainer, "fit", noted)
    ended = train_command(*SMALL, "engine.tf32=false", "trainer.fast_dev_run=true")

    assert ended.status == 0, ended.err
    assert seen == [False]
    assert uses_tf32()
    # No stage was on CUDA.
    assert summary_of(ended)["tf32"] is None


def test_a_sweep_makes_a_run_a_value_and_goes_on_after_a_bad_one(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    sweep = ["model.hidden_size=0,4", "seed=0,1", "hydra.sweep.dir=sweep", "trainer.max_epochs=1"]
    small = [setting for setting in SMALL if not setting.startswith("model.hidden_size")]
    ended = train_command(*small, *sweep, flags=("--multirun",))

    assert ended.status == 2
    assert "model.hidden_size=0 is not positive" in ended.err
    assert "Traceback" not in ended.err
    for index in (2, 3):
        assert (in_tmp_path / "sweep" / str(index) / "summary.json").is_file()
    headings = [line for line in ended.out.splitlines() if line.startswith("===")]
    assert headings[0] == "=== Run 1 of 4: model.hidden_size=0, seed=0 ==="
    assert headings[3:] == [
        "=== Run 4 of 4: model.hidden_size=4, seed=1 ===",
        "=== Sweep of 4 runs ===",
    ]
    table = ended.out.partition(headings[-1])[2]
    assert "Not in the table: sweep/1 (model.hidden_size=0, seed=1): model.hidden_size=0" in table
    (row,) = csv.DictReader((in_tmp_path / "sweep" / "comparison.csv").read_text().splitlines())
    assert (row["seeds"], row["folders"]) == ("0 1", "sweep/2 sweep/3")


def test_the_flag_of_a_sweep_may_stand_anywhere(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    sweep = ["model.hidden_size=4", "-m", "model.num_layers=1,2", "hydra.sweep.dir=sweep"]
    ended = train_command(*SMALL, NO_TEST, NO_VALIDATION, "trainer.max_steps=1", *sweep)

    assert ended.status == 0, ended.err
    folders = [path for path in (in_tmp_path / "sweep").iterdir() if path.is_dir()]
    assert {path.name for path in folders} == {"0", "1"}


@pytest.mark.parametrize("name", ["etth1", "etth1_96", "etth1_720"])
def test_the_experiments_name_devices_that_every_machine_has(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_configs_once(monkeypatch)
    device_map = compose_config([f"experiment={name}", "data.path=a.csv"]).placement.device_map

    # Numbers count accelerators first: of one GPU and a CPU, half of the layers would be on each.
    assert {device.partition(":")[0] for device in map(str, device_map)} == {"cpu"}


def test_the_experiments_go_without_their_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    load_configs_once(monkeypatch)
    given = ["experiment=etth1_96", "data.path=a.csv"]
    assert compose_config(given).callbacks.early_stopping.patience == 3
    assert not compose_config([*given, "callbacks=none"]).callbacks


@pytest.mark.parametrize(
    "name", [pytest.param("etth1", marks=pytest.mark.long), "etth1_96", "etth1_720"]
)
def test_the_experiments_of_the_documentation_can_be_planned(
    name: str, plan_command: RunCommand, in_tmp_path: Path
) -> None:
    hours = pd.date_range("2016-07-01", periods=14500, freq="h")
    names = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    values = np.sin(np.arange(14500))[:, None] * np.arange(1, 8)
    frame = pd.DataFrame(values, columns=names, index=pd.Index(hours, name="date"))
    frame.to_csv(in_tmp_path / "ETTh1.csv")

    ended = plan_command(f"experiment={name}", "data.path=ETTh1.csv")

    assert ended.status == 0, ended.err
    assert "cpu:1" in ended.out


def test_the_deep_experiment_can_be_planned_for_gpus_that_are_elsewhere(
    plan_command: RunCommand,
) -> None:
    ranges = "0-3: cuda:0, 4-7: cuda:1, 8-11: cuda:2, 12-15: cuda:3"

    ended = plan_command(
        "experiment=deep", "data.n_steps=5000", f"placement.device_map={{{ranges}}}"
    )

    assert ended.status == 0, ended.err
    assert "cuda:3" in ended.out
    assert "1 micro-batch x 16 chunks" in ended.out


def test_the_deep_experiment_trains_when_it_is_made_small(train_command: RunCommand) -> None:
    small = [setting for setting in SMALL if "chunks" not in setting and "length" not in setting]
    sizes = ["data.input_length=16", "data.split=[0.7,0.1,0.2]", "data.horizon=2"]

    ended = train_command("experiment=deep", *small, *sizes, "trainer.max_epochs=1")

    assert len(losses_of(ended)) > 0
    assert "1 micro-batch x 16 chunks" in ended.out


def write_series(folder: Path) -> pd.DataFrame:
    steps = np.arange(200)
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=200, freq="h"),
            "a": np.sin(steps / 3),
            "b": np.cos(steps / 5) * 10 + 3,
            "c": steps % 7,
        }
    )
    frame.to_csv(folder / "series.csv", index=False)
    frame.to_parquet(folder / "series.parquet")
    return frame


def test_a_csv_and_a_parquet_file_of_the_same_series_make_the_same_run(
    train_command: RunCommand, in_tmp_path: Path
) -> None:
    write_series(in_tmp_path)
    settings = [setting for setting in SMALL if not setting.startswith("data.n_")]
    settings += ["data=csv", "data.target=[b,a]", "data.season_length=24", "trainer.max_epochs=1"]
    settings += [NO_TEST]

    from_csv = train_command(*settings, "data.path=series.csv", run="csv")
    from_parquet = train_command(*settings, "data.path=series.parquet", run="parquet")

    assert losses_of(from_csv) == losses_of(from_parquet)
    head = checkpoint_of(from_csv)["state_dict"]["model.head.linear.weight"]
    assert head.shape == (2 * 2, 4)
    assert checkpoint_of(from_csv)["state_dict"]["model.encoder.weight"].shape == (4, 3)


@pytest.mark.filterwarnings("ignore:.*the header row names columns")
def test_a_column_is_named_as_it_is_written(train_command: RunCommand, in_tmp_path: Path) -> None:
    names = ["1_1", "1e3", "true"]
    frame = write_series(in_tmp_path).rename(columns=dict(zip("abc", names, strict=True)))
    frame.assign(**{"11": frame[names[0]] + 1}).to_csv("names.csv", index=False)
    settings = [setting for setting in SMALL if not setting.startswith("data.n_")]
    settings += ["data=csv", "data.path=names.csv", "data.season_length=24"]
    settings += ["trainer.max_epochs=1", NO_TEST]

    text = ",".join(names)
    ended = train_command(*settings, f"data.target=[{text}]", f"data.columns=[{text},11]")

    assert ended.status == 0
    config = (ended.folder / "config.yaml").read_text()
    assert "".join(["target:\n", *(f"  - '{name}'\n" for name in names)]) in config
    assert checkpoint_of(ended)["state_dict"]["model.encoder.weight"].shape == (4, 4)


def test_a_profile_stands_in_the_folder_of_the_run(train_command: RunCommand) -> None:
    ended = train_command(*SMALL, NO_TEST, "trainer.profiler=simple", "trainer.max_epochs=1")

    assert (ended.status, ended.err) == (0, "")
    assert "run_training_batch" in (ended.folder / "fit-profile.txt").read_text()
