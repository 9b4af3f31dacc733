"""From the settings to Lightning's Trainer, with the pipeline as its strategy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from gru_parallel.build.target import find_target
from gru_parallel.config import Config, ProcessesConfig
from gru_parallel.data import SeriesDataModule
from gru_parallel.errors import UsageError
from gru_parallel.placement import Plan
from gru_parallel.ranks import Ranks
from gru_parallel.training import PipelineStrategy
from gru_parallel.training.best_and_last import BestCheckpoint, LastCheckpoint
from gru_parallel.training.interrupt import StopAtInterrupt
from gru_parallel.training.metrics_file import MetricsFile
from gru_parallel.training.nonfinite_loss import StopAtNonFiniteLoss
from gru_parallel.training.process_strategy import ProcessStrategy, check_callbacks
from gru_parallel.training.step_clock import StepClock


def build_trainer(
    config: Config,
    plan: Plan,
    folder: Path,
    clock: StepClock,
    *,
    data: SeriesDataModule,
    ranks: Ranks | None,
) -> pl.Trainer:
    """Make the Trainer of a run.

    Args:
        config: the run's settings.
        plan: what the strategy runs.
        folder: of the run; checkpoints, metrics.csv and loggers go into it.
        clock: times the training steps.
        data: of the run.
        ranks: of the run; None where there is but this process.

    Returns:
        The Trainer. Its checkpoints are checkpoints/best.ckpt and checkpoints/last.ckpt.
    """
    arguments = _arguments(config.trainer)
    checkpoints = folder / "checkpoints"
    callbacks: list[Callback] = [
        *_instantiate("callbacks", config.callbacks, Callback),
        clock,
        StopAtNonFiniteLoss(plan),
        MetricsFile(folder / "metrics.csv", arguments["log_every_n_steps"]),
        StopAtInterrupt(checkpoints / "last.ckpt"),
    ]
    if arguments["enable_checkpointing"]:
        # Without validation there is nothing to be best at.
        if arguments["limit_val_batches"] != 0:
            callbacks.append(BestCheckpoint(checkpoints / "best.ckpt"))
        callbacks.append(LastCheckpoint(checkpoints / "last.ckpt"))
    loggers: list[Logger] = _instantiate("logger", config.logger, Logger)
    if loggers:
        callbacks.append(LearningRateMonitor(logging_interval="step"))
    strategy = _strategy(config, plan, data, ranks)
    device = strategy.root_device
    return pl.Trainer(
        **arguments,
        accelerator="cpu" if device.type == "cpu" else "gpu" if device.type == "cuda" else "auto",
        devices=1,
        strategy=strategy,
        # What a launcher has told this process is the strategy's business.
        plugins=LightningEnvironment(),
        callbacks=callbacks,
        logger=loggers,
        default_root_dir=folder,
    )


def _strategy(
    config: Config, plan: Plan, data: SeriesDataModule, ranks: Ranks | None
) -> PipelineStrategy:
    if ranks is None:
        return PipelineStrategy(plan)
    n_replicas = config.data_parallel
    rows = data.share.rows(config.data.batch_size)
    return ProcessStrategy(plan, ranks, data_parallel=n_replicas, rows=rows)


def check_trainer(config: Config) -> None:
    """Try the Trainer's arguments, callbacks and loggers before the run.

    Raises:
        UsageError: Lightning refuses an argument, a callback or a logger cannot be made, or the
            engine cannot have a callback.
    """
    for name, section in (("callbacks", config.callbacks), ("logger", config.logger)):
        for key, settings in section.items():
            find_target(f"{name}.{key!s}", settings)
    if _is_known(config.callbacks):
        callbacks = _instantiate("callbacks", config.callbacks, Callback)
        if isinstance(config.engine, ProcessesConfig):
            check_callbacks(callbacks)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "profiler": None}
    arguments = _arguments(config.trainer) | quiet
    try:
        pl.Trainer(
            **arguments,
            logger=False,
            accelerator="cpu",
            devices=1,
            plugins=LightningEnvironment(),
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        message = " ".join(str(error).split())
        raise UsageError(f"trainer: Lightning refuses the settings: {message}") from error


def _arguments(section: DictConfig) -> dict[str, Any]:
    settings = OmegaConf.to_container(section, resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _is_known(section: DictConfig) -> bool:
    """Say whether all settings have their values, before there is a folder of the run to name."""
    try:
        OmegaConf.to_container(section, resolve=True)
    except InterpolationResolutionError:
        return False
    return True


def _instantiate(name: str, section: DictConfig, kind: type[Any]) -> list[Any]:
    """Make the parts of a section, each of them a `kind`."""
    parts = []
    for key, settings in section.items():
        setting, target = f"{name}.{key!s}", settings["_target_"]
        try:
            part = instantiate(settings)
        except InstantiationException as error:
            reason = " ".join(str(error.__cause__ or error).split()).rstrip(".")
            raise UsageError(
                f"{setting} ({target}) cannot be made: {reason}; give arguments that the class"
                " takes."
            ) from error
        if not isinstance(part, kind):
            raise UsageError(
                f"{setting} ({target}) is no {kind.__name__} of Lightning's; give a class that is"
                " one."
            )
        parts.append(part)
    return parts
