"""Loggers beside a pipelined run."""

import csv
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gru_parallel.training import PipelineStrategy
from tests.builders import make_plan
from tests.runs import N_BATCHES, fit

PLAN = make_plan([2, 2], n_chunks=2)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_logger_gets_what_it_gets_on_one_device(tmp_path: Path) -> None:
    rows = {}
    for name, plan in (("pipelined", PLAN), ("single", None)):
        logger = CSVLogger(tmp_path, name=name, version="")
        options = {"logger": logger, "callbacks": [LearningRateMonitor("step")]}
        fit(plan, log_every_n_steps=1, **options)
        rows[name] = read_rows(tmp_path / name / "metrics.csv")

    assert [row.keys() for row in rows["pipelined"]] == [row.keys() for row in rows["single"]]
    losses = 0
    for found, wanted in zip(rows["pipelined"], rows["single"], strict=True):
        for column, value in wanted.items():
            if value == "" or found[column] == "":
                assert found[column] == value
            else:
                assert float(found[column]) == pytest.approx(float(value), abs=1e-5)
                losses += column == "train/loss"
    assert losses == 2 * N_BATCHES


def test_the_tensorboard_logger_gets_every_loss_in_full(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="events", version="")
    run = fit(PLAN, logger=logger, log_every_n_steps=1)

    events = EventAccumulator(str(tmp_path / "events")).Reload()

    losses = [event.value for event in events.Scalars("train/loss")]
    assert torch.equal(torch.tensor(losses), run.losses)
    assert [event.step for event in events.Scalars("train/loss")] == list(range(2 * N_BATCHES))
    assert len(events.Scalars("val/mse")) == 2


def test_a_logger_writes_in_each_of_several_runs_that_a_launcher_has_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where SLURM_PROCID=1 is set when Lightning is imported.
    monkeypatch.setattr(rank_zero_only, "rank", 1)

    PipelineStrategy(PLAN)
    logger = CSVLogger(tmp_path, name="", version="")
    logger.log_metrics({"loss": 1.0})
    logger.save()

    assert [row["loss"] for row in read_rows(tmp_path / "metrics.csv")] == ["1.0"]
