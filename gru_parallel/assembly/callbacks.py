"""Callbacks and loggers: checked before the run, and created from their settings."""

from __future__ import annotations

import sys
from inspect import isabstract, signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    Callback,
    DeviceStatsMonitor,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    SpikeDetection,
    StochasticWeightAveraging,
    ThroughputMonitor,
)
from lightning.pytorch.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from lightning_utilities.core.imports import RequirementCache
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError
from torch.utils.tensorboard import SummaryWriter

from gru_parallel.config.check_training import has_schedule
from gru_parallel.config.schema import Config
from gru_parallel.config.targets import check_arguments, check_known, find_target
from gru_parallel.errors import UsageError
from gru_parallel.rules import as_written

_CHANGES = "would change a setting of the run behind its back; leave it out, and try values in"
_UNFIT = {
    LearningRateFinder: f"{_CHANGES} a sweep, -m optimizer.lr=1e-4,1e-3,1e-2.",
    BatchSizeFinder: f"{_CHANGES} a sweep, -m data.batch_size=32,64,128.",
    BackboneFinetuning: "looks for model.backbone, and this model has none; leave it out.",
    SpikeDetection: "does not work in Lightning 2.6, not with any model; leave it out.",
    StochasticWeightAveraging: "averages when training has ended, after the last validation and"
    " checkpoint, so that no average would be validated, kept or tested; use"
    " lightning.pytorch.callbacks.WeightAveraging or EMAWeightAveraging.",
}
"""Callbacks that cannot work in a run of `train`, and why."""

_FROM_EPOCH = "update_starting_at_epoch"

_NEEDS_LOGGER = (LearningRateMonitor, DeviceStatsMonitor, ThroughputMonitor)

_EXTRAS: dict[type[Logger], str] = {WandbLogger: "wandb", MLFlowLogger: "mlflow"}
"""Loggers whose packages come with an extra of this one."""


def check_callbacks_and_loggers(config: Config) -> list[Callback]:
    """Check callbacks and loggers before the run.

    Returns:
        The callbacks; none if they need the folder of the run, which is not there yet.

    Raises:
        UsageError: one cannot be created, cannot be used here, or is not installed.
    """
    sections: tuple[tuple[str, DictConfig, type[Any]], ...] = (
        ("callbacks", config.callbacks, Callback),
        ("logger", config.logger, Logger),
    )
    for name, section, kind in sections:
        for key, settings in section.items():
            target = find_target(f"{name}.{key!s}", settings)
            _check_kind(f"{name}.{key!s}", settings, target, kind)
            check_arguments(f"{name}.{key!s}", settings, target)
            _check_use(f"{name}.{key!s}", target, settings, config)
    if not _is_known(config.callbacks):
        return []
    return make_parts("callbacks", config.callbacks, Callback)


def _check_use(name: str, target: Any, settings: DictConfig, config: Config) -> None:
    kind = target if isinstance(target, type) else type(None)
    for unfit, reason in _UNFIT.items():
        if issubclass(kind, unfit):
            raise UsageError(f"{name} ({settings._target_}) {reason}")
    if issubclass(kind, GradientAccumulationScheduler):
        _check_accumulation(name, settings, config)
    if issubclass(kind, EMAWeightAveraging) and settings.get(_FROM_EPOCH) is not None:
        raise UsageError(
            f"{name}.{_FROM_EPOCH}={settings[_FROM_EPOCH]} does not have averages wait in Lightning"
            " 2.6: each step counts from the first on; use update_starting_at_step, or leave it"
            " out."
        )
    if issubclass(kind, DeviceStatsMonitor) and not RequirementCache("psutil"):
        raise UsageError(
            f"{name} ({settings._target_}) needs a package that is not installed; pip install"
            " psutil, or leave it out."
        )
    if issubclass(kind, _NEEDS_LOGGER) and not config.logger:
        raise UsageError(
            f"{name} ({settings._target_}) writes to loggers, and there is none; add logger=csv,"
            " or leave it out."
        )
    if issubclass(kind, Logger):
        _check_logger(name, kind, settings)


def _check_accumulation(name: str, settings: DictConfig, config: Config) -> None:
    n_accumulated, scheduler = config.trainer.accumulate_grad_batches, config.lr_scheduler
    if n_accumulated != 1:
        raise UsageError(
            f"trainer.accumulate_grad_batches={n_accumulated} and {name} ({settings._target_})"
            " decide the same thing; leave out one of them."
        )
    moves_by_steps = has_schedule(scheduler) and scheduler.get("interval", "step") == "step"
    if moves_by_steps and config.trainer.max_epochs != -1:
        raise UsageError(
            f"lr_scheduler ({scheduler._target_}) moves once a step and is made for the steps of"
            f" the whole run, and {name} ({settings._target_}) changes their number from epoch to"
            " epoch; use trainer.accumulate_grad_batches, or say where the run ends with"
            " trainer.max_epochs=-1 trainer.max_steps=N."
        )


def _check_kind(name: str, settings: DictConfig, target: Any, kind: type[Any]) -> None:
    """Check that a class is of a kind; what a function returns is only known when it is called."""
    is_other = isinstance(target, type) and not issubclass(target, kind)
    if is_other or isabstract(target):
        raise UsageError(
            f"{name} ({settings._target_}) is not a {kind.__name__} of Lightning's that could be"
            " made; give a class that is one."
        )


def _check_logger(name: str, kind: type[Logger], settings: DictConfig) -> None:
    """Check what loggers check only in the run: arguments that they pass on, and their folder."""
    _check_installed(name, kind, settings)
    _check_folder(name, settings)
    if issubclass(kind, TensorBoardLogger):
        if settings.get("log_graph"):
            raise UsageError(
                f"{name}.log_graph=true traces a model in one piece, and here its stages run in"
                " threads or processes of their own; leave it out."
            )
        passed_on = [*signature(kind).parameters, *signature(SummaryWriter).parameters]
        check_known(name, settings, [key for key in passed_on if key not in ("kwargs", "log_dir")])
    if issubclass(kind, CSVLogger):
        if settings.get("flush_logs_every_n_steps", 1) < 1:
            raise UsageError(
                f"{name}.flush_logs_every_n_steps={settings.flush_logs_every_n_steps} is not"
                " positive; use a whole number of at least 1."
            )
        if not settings.get("name", "x") and not settings.get("version", "x"):
            raise UsageError(
                f"{name}.name={as_written(settings.name)} has it write a metrics.csv where the run"
                f" writes its own; give a name, as in {name}.name=csv."
            )


def _check_installed(name: str, kind: type[Logger], settings: DictConfig) -> None:
    """Check that the package a logger needs is installed, which Lightning does when creating it."""
    module = vars(sys.modules[kind.__module__]).values()
    if all(requirement for requirement in module if isinstance(requirement, RequirementCache)):
        return
    given = OmegaConf.to_container(settings, resolve=False)
    assert isinstance(given, dict)
    try:
        kind(**{str(key): value for key, value in given.items() if not str(key).startswith("_")})
    except ModuleNotFoundError as error:
        extra = next((extra for each, extra in _EXTRAS.items() if issubclass(kind, each)), None)
        remedy = " ".join(str(error).split())
        if extra is not None:
            remedy = f"pip install 'gru-parallel[{extra}]', or leave it out."
        raise UsageError(
            f"{name} ({settings._target_}) needs a package that is not installed: {remedy}"
        ) from error
    except Exception:  # noqa: BLE001  # without the folder of the run, others may fail
        pass


def _check_folder(name: str, settings: DictConfig) -> None:
    """Check that the folder of a logger can be created."""
    if not _is_known(settings) or not isinstance(settings.get("save_dir"), str):
        return
    if not settings.save_dir:
        raise UsageError(f"{name}.save_dir is empty; give a folder, or leave it out.")
    folder = Path(settings.save_dir).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        TemporaryDirectory(dir=existing).cleanup()
    except OSError as error:
        raise UsageError(
            f"{name}.save_dir={settings.save_dir} gives no folder that can be written to"
            f" ({error.strerror}: {existing}); choose another."
        ) from error


def _is_known(section: DictConfig) -> bool:
    """Whether all settings have their values, before there is a folder of the run to refer to."""
    try:
        OmegaConf.to_container(section, resolve=True)
    except InterpolationResolutionError:
        return False
    return True


def make_parts(name: str, section: DictConfig, kind: type[Any]) -> list[Any]:
    """Make the parts of a section, each of them a `kind`.

    Raises:
        UsageError: one cannot be made, or is another kind.
    """
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
                f"{setting} ({target}) is not a {kind.__name__} of Lightning's; give a class"
                " that is one."
            )
        parts.append(part)
    return parts
