"""Runs the systems that forecast ETTh1, each with a seed, and reads what they came to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import ExponentialLR

from benchmarks.etth1.dlinear import DLinear
from benchmarks.etth1.numbers import OURS, Errors
from gru_parallel.assembly.data import build_data
from gru_parallel.assembly.trainer import quieten_lightning
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.data import SeriesDataModule
from gru_parallel.errors import UsageError
from gru_parallel.model import LOSSES
from gru_parallel.training import SeriesModule

QUICK = (
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=2",
)
"""Settings of a smoke run."""


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        horizon: rows that are forecast.
        seed: of the run.
        path: of the series.
        is_quick: whether it only shows that it can run.
    """

    horizon: int
    seed: int
    path: Path
    is_quick: bool

    @property
    def overrides(self) -> list[str]:
        """Settings that all runs have in common."""
        quick = QUICK if self.is_quick else ()
        return [
            f"data.path={self.path}",
            f"data.horizon={self.horizon}",
            f"seed={self.seed}",
            *quick,
        ]


def run_ours(job: Job) -> Errors:
    """Train `experiment=etth1_...`."""
    return _errors_of(job, _train(job, f"experiment=etth1_{job.horizon}"))


def run_plain(job: Job) -> Errors:
    """Train a plain deep GRU, four layers over all rows of a window: `experiment=etth1`."""
    return _errors_of(job, _train(job, "experiment=etth1", "callbacks=early_stopping"))


def run_dlinear(job: Job) -> Errors:
    """Train DLinear on the windows of a run, with the Trainer and the metrics of a run.

    Batches and rate are those of the authors' script for ETTh1: 32 windows, Adam with 0.005,
    halved after each epoch, and an end after three epochs without progress, or ten.
    """
    settings = ["experiment=etth1", "data.centre=none", "data.batch_size=32", *job.overrides]
    config = read_config(compose_config(settings))
    data = build_data(config, SeriesDataModule, 0, False)
    quieten_lightning()
    start = perf_counter()
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        module = SeriesModule(
            DLinear(config.data.input_length, job.horizon),
            LOSSES["mse"],
            partial(torch.optim.Adam, lr=0.005),
            lambda optimizer, _: ExponentialLR(optimizer, 0.5),
            schedule_interval="epoch",
        )
        best = ModelCheckpoint(folder, monitor="val/loss")
        limits = {f"limit_{part}_batches": 2 for part in ("train", "val", "test")}
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1 if job.is_quick else 10,
            callbacks=[EarlyStopping("val/loss", patience=3), best],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **(limits if job.is_quick else {}),
        )
        trainer.fit(module, data)
        assert best.best_model_score is not None
        validation_loss = best.best_model_score.item()
        (found,) = trainer.test(module, data, ckpt_path="best", weights_only=True, verbose=False)
    minutes = (perf_counter() - start) / 60
    return Errors(job.seed, found["test/mse"], found["test/mae"], validation_loss, minutes)


SYSTEMS: Mapping[str, Callable[[Job], Errors]] = {
    OURS: run_ours,
    "DLinear": run_dlinear,
    "plain GRU, 4 layers": run_plain,
}
"""What is trained, by the name that tables have for it."""


def seasonal_naive(job: Job) -> Errors:
    """Repeat the last day."""
    config = read_config(compose_config(["experiment=etth1", *job.overrides]))
    data = build_data(config, SeriesDataModule, 0, False)
    found = data.baselines("test")["seasonal_naive"]
    return Errors(None, found.mse, found.mae, None, 0.0)


def _train(job: Job, *settings: str) -> dict[str, Any]:
    """Train in a process and a folder of its own; return the summary of the run."""
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "gru_parallel.train", *settings, *job.overrides]
        command += ["trainer.enable_progress_bar=false", f"hydra.run.dir={run}"]
        start = perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UsageError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
        return {**summary, "minutes": (perf_counter() - start) / 60}


def _errors_of(job: Job, summary: Mapping[str, Any]) -> Errors:
    metrics = summary["test_metrics"]
    loss, minutes = summary["validation_loss"], summary["minutes"]
    return Errors(job.seed, metrics["mse"], metrics["mae"], loss, minutes)


def check_series(path: Path) -> None:
    """Raise a UsageError where the series is not there."""
    if not path.is_file():
        raise UsageError(
            f"{path} is absent: the project does not vendor the series; take ETTh1.csv of"
            " zhouhaoyi/ETDataset and name it with --data."
        )


def seeds_of(options: Any) -> Sequence[int]:
    """Return the seeds of a measurement."""
    return (0,) if options.quick else range(options.seeds)
