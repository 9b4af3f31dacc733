"""The systems that forecast ETTh1: their settings, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import ExponentialLR

from benchmarks.etth1.dlinear import DLinear
from benchmarks.etth1.numbers import OURS, Errors
from benchmarks.training import Found, train
from gru_parallel.assembly.data import build_data
from gru_parallel.assembly.trainer import quieten_lightning
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.data import SeriesDataModule
from gru_parallel.errors import UsageError
from gru_parallel.model import LOSSES
from gru_parallel.training import SeriesModule


class System(NamedTuple):
    """What forecasts.

    Attributes:
        title: in tables.
        settings: overrides, with the word HORIZON for the rows ahead.
        train: trains with overrides, seed and path among them.
    """

    title: str
    settings: tuple[str, ...]
    train: Callable[[Sequence[str]], Found]

    def settings_at(self, horizon: int, path: Path) -> list[str]:
        """Return the overrides at a horizon, without the seed."""
        own = [setting.replace("HORIZON", str(horizon)) for setting in self.settings]
        return [*own, f"data.path={path}", f"data.horizon={horizon}"]


def train_in_process(settings: Sequence[str]) -> Found:
    """Train as `gru-parallel train` does."""
    with TemporaryDirectory() as folder:
        summary = train(settings, Path(folder) / "run")
    metrics = summary["test_metrics"]
    return {
        "mse": metrics["mse"],
        "mae": metrics["mae"],
        "validation_loss": summary["validation_loss"],
        "minutes": summary["minutes"],
    }


def train_dlinear(settings: Sequence[str]) -> Found:
    """Train DLinear on the windows of a run, with the Trainer and the metrics of a run.

    Batches and rate are those of the authors' script for ETTh1: 32 windows, Adam with 0.005,
    halved after each epoch, and an end after three epochs without progress, or ten.
    """
    config = read_config(compose_config(list(settings)))
    data = build_data(config, SeriesDataModule, 0, False)
    quieten_lightning()
    start = perf_counter()
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        module = SeriesModule(
            DLinear(config.data.input_length, config.data.horizon),
            LOSSES["mse"],
            partial(torch.optim.Adam, lr=0.005),
            lambda optimizer, _: ExponentialLR(optimizer, 0.5),
            schedule_interval="epoch",
        )
        best = ModelCheckpoint(folder, monitor="val/loss")
        own = config.trainer
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=own.max_epochs,
            limit_train_batches=own.limit_train_batches,
            limit_val_batches=own.limit_val_batches,
            limit_test_batches=own.limit_test_batches,
            callbacks=[EarlyStopping("val/loss", patience=3), best],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, data)
        assert best.best_model_score is not None
        validation_loss = best.best_model_score.item()
        (found,) = trainer.test(module, data, ckpt_path="best", weights_only=True, verbose=False)
    return {
        "mse": found["test/mse"],
        "mae": found["test/mae"],
        "validation_loss": validation_loss,
        "minutes": (perf_counter() - start) / 60,
    }


SYSTEMS: Mapping[str, System] = {
    "segments": System(OURS, ("experiment=etth1_HORIZON",), train_in_process),
    "dlinear": System(
        "DLinear",
        ("experiment=etth1", "data.centre=none", "data.batch_size=32"),
        train_dlinear,
    ),
    "plain": System(
        "plain GRU, 4 layers", ("experiment=etth1", "callbacks=early_stopping"), train_in_process
    ),
}
"""What is trained, by the name that the command line has for it."""


def seasonal_naive(horizon: int, path: Path) -> Errors:
    """Repeat the last day."""
    settings = ["experiment=etth1", f"data.path={path}", f"data.horizon={horizon}"]
    data = build_data(read_config(compose_config(settings)), SeriesDataModule, 0, False)
    found = data.baselines("test")["seasonal_naive"]
    return Errors(None, found.mse, found.mae, None, 0.0)


def check_series(path: Path) -> None:
    """Raise a UsageError where the series is not there."""
    if not path.is_file():
        raise UsageError(
            f"{path} is absent: the project does not vendor the series; take ETTh1.csv of"
            " zhouhaoyi/ETDataset and name it with --data."
        )
