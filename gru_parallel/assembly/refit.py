"""Trains a model anew with the settings of a finished run, on other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from gru_parallel.assembly.module import build_module
from gru_parallel.assembly.reuse import Reuse
from gru_parallel.assembly.trainer import build_trainer
from gru_parallel.data import SeriesDataModule
from gru_parallel.run_folder import RunFolder
from gru_parallel.training import SeriesModule
from gru_parallel.training.best_and_last import written_checkpoints
from gru_parallel.training.epoch_record import Listener
from gru_parallel.training.step_clock import StepClock


def refit_and_test(
    using: Reuse,
    data: SeriesDataModule,
    folder: Path,
    observers: Sequence[Callback],
    *,
    shows_progress: bool,
    listeners: Sequence[Listener] = (),
) -> None:
    """Train from scratch, and test with the best epoch, or the last without a validation.

    Args:
        using: the run, whose plan is used, too; of its loggers none, which write into its folder.
        data: to train, validate and test on.
        folder: for checkpoints and metrics.
        observers: callbacks that watch the test.
        shows_progress: whether there may be a progress bar.
        listeners: are called with the results of each epoch.
    """
    config = replace(using.config, logger=OmegaConf.create())
    module: SeriesModule = build_module(config, data.widths)
    trainer: pl.Trainer = build_trainer(
        config,
        using.plan,
        RunFolder(folder),
        # The table of what is logged has its speed.
        [StepClock(), *observers],
        data=data,
        ranks=None,
        shows_progress=shows_progress,
        listeners=listeners,
    )
    trainer.fit(module, data)
    best, _ = written_checkpoints(trainer)
    trainer.test(module, data, ckpt_path=best, verbose=False)
