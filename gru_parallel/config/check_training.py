"""Refuses settings of Lightning that cannot work, before Lightning is asked.

Lightning finds most of them only in the run, some in its last minute, and some not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig

from gru_parallel.choices import coverage_names, hint, metric_names
from gru_parallel.config.schema import Config
from gru_parallel.errors import UsageError
from gru_parallel.rules import as_written

INTERVALS = ("step", "epoch")
PLATEAU = "ReduceLROnPlateau"
# In the settings it stands for the number of optimiser steps of the whole run.
TOTAL_STEPS = "total_steps"

_LOGGED_IN_TRAINING = ("train/loss", "samples/s")


def check_training(config: Config) -> None:
    """Check the Trainer's settings, and what the callbacks and the rate's schedule look at.

    Raises:
        UsageError: a number is out of its range, two settings do not go together, or a metric that
            something looks at is not logged.
    """
    trainer = config.trainer
    if not trainer.fast_dev_run:
        _check_ends(config)
    _check_scheduler(config)
    for name, metric in _watched(config):
        _check_metric(name, metric, config)
    _check_patience("lr_scheduler", config.lr_scheduler)
    if is_plateau(config.lr_scheduler):
        monitor = config.lr_scheduler.get("monitor", "val/loss")
        _check_mode("lr_scheduler", config.lr_scheduler, monitor, config)
    for key, settings in config.callbacks.items():
        if isinstance(settings, DictConfig):
            _check_patience(f"callbacks.{key!s}", settings)
            _check_early_stopping(f"callbacks.{key!s}", settings, config)


def needs_lightning(config: Config) -> bool:
    """Whether something is set that only Lightning can check."""
    trainer = config.trainer
    asked = (trainer.max_time, trainer.val_check_interval, config.callbacks, config.logger)
    is_counted_in_epochs = trainer.check_val_every_n_epoch is not None
    return any(asked) or trainer.precision != "32-true" or not is_counted_in_epochs


def _check_ends(config: Config) -> None:
    trainer = config.trainer
    for unit in ("epochs", "steps"):
        least, most = getattr(trainer, f"min_{unit}"), getattr(trainer, f"max_{unit}")
        if least is not None and most is not None and 0 < most < least:
            raise UsageError(
                f"trainer.min_{unit}={least} exceeds trainer.max_{unit}={most}; use"
                f" trainer.min_{unit} <= {most}."
            )
    every, last = trainer.check_val_every_n_epoch, trainer.max_epochs
    is_late = every is not None and last is not None and 0 < last < every
    if is_late and config.no_validation is None:
        raise UsageError(
            f"trainer.check_val_every_n_epoch={every} exceeds trainer.max_epochs={last}, so that"
            f" there would be no validation; use {last} or less, or, for a run without one,"
            " trainer.limit_val_batches=0."
        )


def _check_scheduler(config: Config) -> None:
    scheduler = config.lr_scheduler
    unused = [key for key in scheduler if key not in ("_target_", "interval", "monitor")]
    if not has_schedule(scheduler) and unused:
        raise UsageError(
            f"lr_scheduler.{unused[0]!s} has no schedule that would take it; choose one, as in"
            " lr_scheduler=cosine, or leave it out, that of an experiment with"
            f" ~lr_scheduler.{unused[0]!s}."
        )
    interval = scheduler.get("interval", "step")
    if interval not in INTERVALS:
        raise UsageError(
            f"lr_scheduler.interval={as_written(interval)} is not a valid choice; use one of"
            f" {', '.join(INTERVALS)}."
        )
    words = [str(key) for key, value in scheduler.items() if value == TOTAL_STEPS]
    if words and interval == "epoch":
        raise UsageError(
            f"lr_scheduler.{words[0]}={TOTAL_STEPS} counts the steps of the run, and"
            f" lr_scheduler.interval=epoch moves once an epoch; use lr_scheduler.interval=step, or"
            f" a number of epochs, lr_scheduler.{words[0]}={as_written(config.trainer.max_epochs)}."
        )
    if config.optimizer.get("maximize"):
        raise UsageError("optimizer.maximize=true makes errors larger; leave it out.")
    if not is_plateau(scheduler):
        return
    if interval != "epoch":
        raise UsageError(
            f"lr_scheduler.interval={interval} does not go with a plateau of a metric, which is"
            " there once an epoch; use lr_scheduler.interval=epoch."
        )
    factor = scheduler.get("factor", 0.1)
    if isinstance(factor, int | float) and not 0 < factor < 1:
        raise UsageError(
            f"lr_scheduler.factor={factor} does not make a rate smaller; use a number between 0"
            " and 1."
        )
    if config.trainer.check_val_every_n_epoch is None:
        raise UsageError(
            "trainer.check_val_every_n_epoch=null validates without regard to epochs, and a"
            " plateau looks at the end of each; use a whole number of at least 1."
        )


def has_schedule(scheduler: DictConfig) -> bool:
    """Whether the learning rate has a schedule, and does not stay as it is."""
    return scheduler.get("_target_") is not None


def is_plateau(scheduler: DictConfig) -> bool:
    """Whether the schedule of the learning rate watches a metric."""
    return str(scheduler.get("_target_")).endswith(PLATEAU)


def check_scaled_errors(config: Config, is_known: bool) -> None:
    """Check that a metric which is watched can be known.

    Args:
        config: the run's settings.
        is_known: whether any series that is validated has an error to scale its own by.

    Raises:
        UsageError: MASE is watched, and it cannot.
    """
    for name, metric in _watched(config):
        if metric == "val/mase" and not is_known:
            raise UsageError(
                f"{name}=val/mase would be NaN in every epoch: errors are divided by those of the"
                " seasonal naive forecast in a series' training part (data.season_length), and no"
                " series that is validated has one with any; watch another metric, such as"
                " val/loss."
            )


def _watched(config: Config) -> Iterator[tuple[str, Any]]:
    """Yield the settings that name a metric, and what they name."""
    if is_plateau(config.lr_scheduler):
        yield "lr_scheduler.monitor", config.lr_scheduler.get("monitor", "val/loss")
    for name, settings in config.callbacks.items():
        if isinstance(settings, DictConfig) and settings.get("monitor") is not None:
            yield f"callbacks.{name!s}.monitor", settings.monitor


def _check_metric(name: str, metric: Any, config: Config) -> None:
    left_out = config.no_validation
    in_validation = _logged_in_validation(config)
    logged = [*_LOGGED_IN_TRAINING, *(() if left_out else in_validation)]
    if metric in logged or _may_log(str(metric), config):
        return
    if metric in in_validation:
        raise UsageError(
            f"{name}={metric} is measured in validations, and {left_out} leaves them out; allow"
            " them, or leave out what looks at it."
        )
    if metric in (f"val/{coverage}" for coverage in coverage_names(config.quantiles)):
        raise UsageError(
            f"{name}={metric} is no error to be lowest: the nearer a coverage is to its share, the"
            f" better; {hint('', logged)}"
        )
    raise UsageError(f"{name}={as_written(metric)} is not logged; {hint(metric, logged)}")


def _logged_in_validation(config: Config) -> list[str]:
    """Return the errors of a validation; a coverage is none, of which neither end is the best."""
    errors = [name for name in metric_names(config.quantiles) if "coverage" not in name]
    return ["val/loss", *(f"val/{name}" for name in errors)]


def _may_log(metric: str, config: Config) -> bool:
    """Whether a callback or logger may log this metric itself."""
    # With a logger there is also a monitor of the learning rate.
    if config.logger and metric.startswith("lr-"):
        return True
    targets = [
        str(settings.get("_target_"))
        for settings in config.callbacks.values()
        if isinstance(settings, DictConfig)
    ]
    return any(not target.startswith("lightning.") for target in targets)


def _check_early_stopping(name: str, settings: DictConfig, config: Config) -> None:
    if not str(settings.get("_target_")).endswith(".EarlyStopping"):
        return
    at_epoch_end = settings.get("check_on_train_epoch_end")
    monitor = settings.get("monitor")
    in_validation = monitor in _logged_in_validation(config)
    every = config.trainer.check_val_every_n_epoch
    if at_epoch_end and in_validation and every != 1 and not config.trainer.fast_dev_run:
        raise UsageError(
            f"{name}.check_on_train_epoch_end=true looks at {monitor} in epochs that have"
            f" none (trainer.check_val_every_n_epoch={as_written(every)}); use"
            f" {name}.check_on_train_epoch_end=false."
        )
    if at_epoch_end is False and config.no_validation is not None:
        raise UsageError(
            f"{name}.check_on_train_epoch_end=false looks after validations, and"
            f" {config.no_validation} leaves them out; use {name}.check_on_train_epoch_end=true."
        )
    _check_mode(name, settings, monitor, config)


def _check_patience(name: str, settings: DictConfig) -> None:
    patience = settings.get("patience")
    if isinstance(patience, int) and patience < 0:
        raise UsageError(f"{name}.patience={patience} is negative; use 0 or more.")


def _check_mode(name: str, settings: DictConfig, monitor: Any, config: Config) -> None:
    """Refuse settings by which the largest error would count as the best."""
    errors = ["train/loss", *_logged_in_validation(config)]
    if settings.get("mode") == "max" and monitor in errors:
        raise UsageError(
            f"{name}.mode=max takes {monitor} for the better the more it grows, and it is an error;"
            " leave it out."
        )
