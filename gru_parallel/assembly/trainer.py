"""From the settings to Lightning's Trainer, with the pipeline as its strategy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ProgressBar, Timer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler

from gru_parallel.assembly.callbacks import (
    check_callbacks_and_loggers,
    make_parts,
)
from gru_parallel.config.schema import Config, ProcessesConfig
from gru_parallel.data import SeriesDataModule
from gru_parallel.data.share import Share
from gru_parallel.errors import UsageError
from gru_parallel.placement import Plan
from gru_parallel.ranks import Ranks
from gru_parallel.rules import as_written
from gru_parallel.run_folder import RunFolder
from gru_parallel.training import PipelineStrategy
from gru_parallel.training.averages import AveragesOfWeights
from gru_parallel.training.best_and_last import BestCheckpoint, LastCheckpoint
from gru_parallel.training.early_stops import EarlyStops
from gru_parallel.training.epoch_record import EpochRecord, Listener
from gru_parallel.training.interrupt import StopAtInterrupt
from gru_parallel.training.metrics_file import MetricsFile
from gru_parallel.training.nonfinite_loss import StopAtNonFiniteLoss
from gru_parallel.training.pace import Listener as PaceListener
from gru_parallel.training.pace import PaceRecord, names_of_metrics
from gru_parallel.training.process_strategy import ProcessStrategy
from gru_parallel.training.random_state import RandomState
from gru_parallel.training.rank_checks import check_for_ranks
from gru_parallel.training.stall_watch import StallWatch

_PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}


def build_trainer(
    config: Config,
    plan: Plan,
    folder: RunFolder,
    observers: Sequence[Callback],
    *,
    data: SeriesDataModule,
    ranks: Ranks | None,
    shows_progress: bool,
    listeners: Sequence[Listener] = (),
    pace_listeners: Sequence[PaceListener] = (),
    say_stalls: Callable[[str], None] | None = None,
) -> pl.Trainer:
    """Create the Trainer of a run.

    Args:
        config: the run's settings.
        plan: what the strategy runs.
        folder: of the run; checkpoints, metrics, loggers and profiles go into it.
        observers: callbacks that watch the run and change nothing.
        data: of the run.
        ranks: of the run; None if this is the only process.
        shows_progress: whether there may be a progress bar; one in the settings stays.
        listeners: are called with the results of each epoch.
        pace_listeners: are called with the pace of the run.
        say_stalls: is called with a line, in another thread, when the run makes no progress.

    Returns:
        The Trainer.
    """
    arguments = asdict(config.trainer)
    given = make_parts("callbacks", config.callbacks, Callback)
    if not shows_progress and not any(isinstance(callback, ProgressBar) for callback in given):
        arguments["enable_progress_bar"] = False
    watch = config.watch
    columns_of_pace = [] if watch.every_s is None else names_of_metrics(plan.n_stages)
    every = config.trainer.log_every_n_steps
    metrics = MetricsFile(folder.metrics, every, columns_of_pace, config.quantiles)
    watching: list[Callback] = []
    if watch.every_s is not None:
        watching.append(PaceRecord(watch.every_s, [metrics.write_pace, *pace_listeners]))
    if watch.stalled_after_s is not None and say_stalls is not None:
        watching.append(StallWatch(watch.stalled_after_s, say_stalls, ranks))
    callbacks: list[Callback] = [
        # Before all that may draw.
        RandomState(),
        *given,
        *observers,
        *watching,
        StopAtNonFiniteLoss(plan),
        EpochRecord([metrics.write_epoch, *listeners]),
        metrics,
        EarlyStops(),
        AveragesOfWeights(),
        StopAtInterrupt(folder.last),
    ]
    if config.trainer.enable_checkpointing:
        # Without validation no checkpoint is the best.
        if config.no_validation is None:
            callbacks.append(BestCheckpoint(folder.best))
        every_n_steps = config.checkpoint.every_n_train_steps
        callbacks.append(LastCheckpoint(folder.last, every_n_steps, _interval(config)))
    loggers = make_parts("logger", config.logger, Logger)
    if loggers:
        callbacks.append(LearningRateMonitor(logging_interval="step"))
    if config.trainer.profiler is not None:
        # By name, it would write where Lightning's log goes, which is nowhere here.
        arguments["profiler"] = _PROFILERS[config.trainer.profiler](folder.path, "profile")
    trainer = _make_trainer(
        config,
        arguments,
        plan,
        data.share,
        ranks,
        callbacks=callbacks,
        logger=loggers,
        default_root_dir=folder.path,
    )
    if not data.parts["validation"]:
        # With trainer.fast_dev_run, the argument would be ignored.
        trainer.limit_val_batches = 0
    return trainer


def build_evaluator(
    config: Config,
    plan: Plan,
    callbacks: Sequence[Callback],
    *,
    share: Share,
    ranks: Ranks | None,
    shows_progress: bool,
) -> pl.Trainer:
    """Create a Trainer that tests or predicts, and writes nothing by itself.

    Args:
        config: settings.
        plan: what the strategy runs.
        callbacks: that watch.
        share: the rows of each batch that come here.
        ranks: None if this is the only process.
        shows_progress: whether there is a progress bar.
    """
    arguments = asdict(config.trainer) | {
        "enable_checkpointing": False,
        "enable_progress_bar": shows_progress,
        "profiler": None,
    }
    return _make_trainer(
        config, arguments, plan, share, ranks, callbacks=list(callbacks), logger=False
    )


def _make_trainer(
    config: Config,
    arguments: dict[str, Any],
    plan: Plan,
    share: Share,
    ranks: Ranks | None,
    **options: Any,
) -> pl.Trainer:
    """Create a Trainer with the strategy of the engine."""
    graphs = None if config.engine.graphs == "auto" else bool(config.engine.graphs)
    in_background = config.checkpoint.async_
    if ranks is None:
        strategy = PipelineStrategy(plan, graphs=graphs, saves_in_background=in_background)
    else:
        rows = share.rows(config.data.batch_size)
        strategy = ProcessStrategy(
            plan,
            ranks,
            data_parallel=config.data_parallel,
            rows=rows,
            graphs=graphs,
            saves_in_background=in_background,
        )
    device = strategy.root_device
    return pl.Trainer(
        **arguments,
        accelerator="cpu" if device.type == "cpu" else "gpu" if device.type == "cuda" else "auto",
        devices=1,
        strategy=strategy,
        # What a launcher told this process is up to the strategy.
        plugins=LightningEnvironment(),
        **options,
    )


def _interval(config: Config) -> timedelta | None:
    """Return the time from one checkpoint to the next; None for none."""
    given = config.checkpoint.train_time_interval
    if given is None:
        return None
    try:
        seconds = Timer(given).time_remaining()
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UsageError(
            f"checkpoint.train_time_interval={as_written(given)} is not a time; use days, hours,"
            " minutes and seconds, 00:00:30:00 or {minutes: 30}."
        ) from error
    return timedelta(seconds=seconds or 0.0)


def quieten_lightning() -> None:
    """Suppress what Lightning prints in every run."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        "The '.*' does not have many workers",
        "GPU available but not used",
        "The number of training batches .* is smaller than the logging interval",
        ".*isinstance\\(treespec, LeafSpec\\)` is deprecated",
        "Checkpoint directory .* exists and is not empty",
        # What it says it deletes has been put aside.
        "Experiment logs directory .* exists and is not empty",
    ):
        warnings.filterwarnings("ignore", message)


def check_trainer(config: Config, *, ranks_train: bool = True) -> None:
    """Try the Trainer's arguments, callbacks and loggers before the run.

    Args:
        config: settings.
        ranks_train: whether ranks, if there are any, train with them.

    Raises:
        UsageError: Lightning refuses an argument, a callback or a logger cannot be made, or the
            engine cannot have a callback.
    """
    callbacks = check_callbacks_and_loggers(config)
    _interval(config)
    arguments = asdict(config.trainer) | {"profiler": None}
    try:
        with warnings.catch_warnings():
            # It warns of what a CPU has not, such as float16; that of the run warns for itself.
            warnings.simplefilter("ignore")
            trainer = pl.Trainer(
                **arguments,
                callbacks=callbacks,
                logger=False,
                accelerator="cpu",
                devices=1,
                plugins=LightningEnvironment(),
            )
    except (
        AttributeError,
        ModuleNotFoundError,
        TypeError,
        ValueError,
        MisconfigurationException,
    ) as error:
        message = " ".join(str(error).split())
        raise UsageError(f"trainer: Lightning refuses the settings: {message}") from error
    if isinstance(config.engine, ProcessesConfig):
        check_for_ranks(trainer, trains=ranks_train)
