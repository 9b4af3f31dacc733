"""Callbacks and loggers: checked before the run, and made from their settings."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    DeviceStatsMonitor,
    LearningRateFinder,
    LearningRateMonitor,
    ThroughputMonitor,
)
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning_utilities.core.imports import RequirementCache
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from gru_parallel.config import Config, ProcessesConfig
from gru_parallel.errors import UsageError
from gru_parallel.targets import check_arguments, find_target
from gru_parallel.training.process_strategy import check_callbacks

_INSTEAD = {
    LearningRateFinder: "a sweep, -m optimizer.lr=1e-4,1e-3,1e-2",
    BatchSizeFinder: "a sweep, -m data.batch_size=32,64,128",
}
"""Callbacks that change settings which stand in a run's config, and what to do instead."""

_NEEDS_LOGGER = (LearningRateMonitor, DeviceStatsMonitor, ThroughputMonitor)


def make_callbacks(config: Config) -> list[Callback]:
    """Make the callbacks of the settings.

    Raises:
        UsageError: one cannot be made, or is none.
    """
    return _make("callbacks", config.callbacks, Callback)


def make_loggers(config: Config) -> list[Logger]:
    """Make the loggers of the settings.

    Raises:
        UsageError: one cannot be made, or is none.
    """
    return _make("logger", config.logger, Logger)


def check_callbacks_and_loggers(config: Config) -> list[Callback]:
    """Check callbacks and loggers before the run.

    Returns:
        The callbacks; none where they need the folder of the run, which is not there yet.

    Raises:
        UsageError: one cannot be made, cannot be used here, or is not installed.
    """
    for name, section in (("callbacks", config.callbacks), ("logger", config.logger)):
        for key, settings in section.items():
            target = find_target(f"{name}.{key!s}", settings)
            check_arguments(f"{name}.{key!s}", settings, target)
            _check_use(f"{name}.{key!s}", target, settings, config)
    if not _is_known(config.callbacks):
        return []
    callbacks = make_callbacks(config)
    if isinstance(config.engine, ProcessesConfig):
        check_callbacks(callbacks)
    return callbacks


def _check_use(name: str, target: Any, settings: DictConfig, config: Config) -> None:
    kind = target if isinstance(target, type) else type(None)
    for finder, instead in _INSTEAD.items():
        if issubclass(kind, finder):
            raise UsageError(
                f"{name} ({settings._target_}) would change a setting of the run behind its back;"
                f" leave it out, and try values in {instead}."
            )
    if issubclass(kind, _NEEDS_LOGGER) and not config.logger:
        raise UsageError(
            f"{name} ({settings._target_}) writes to loggers, and there is none; add logger=csv,"
            " or leave it out."
        )
    if issubclass(kind, TensorBoardLogger) and settings.get("log_graph"):
        raise UsageError(
            f"{name}.log_graph=true traces a model in one piece, and here its stages run in threads"
            " or processes of their own; leave it out."
        )
    if issubclass(kind, Logger):
        _check_installed(name, kind, settings)
        _check_folder(name, settings)


def _check_installed(name: str, kind: type[Logger], settings: DictConfig) -> None:
    """Check that what a logger writes to is installed, which Lightning looks at in making it."""
    module = vars(sys.modules[kind.__module__]).values()
    if all(requirement for requirement in module if isinstance(requirement, RequirementCache)):
        return
    given = OmegaConf.to_container(settings, resolve=False)
    assert isinstance(given, dict)
    try:
        kind(**{str(key): value for key, value in given.items() if not str(key).startswith("_")})
    except ModuleNotFoundError as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{name} ({settings._target_}) needs a package that is not installed: {reason}"
        ) from error
    except Exception:  # noqa: BLE001  # made without the folder of the run, others may fail
        pass


def _check_folder(name: str, settings: DictConfig) -> None:
    """Check that the folder that a logger writes to can be made."""
    if not _is_known(settings) or not isinstance(settings.get("save_dir"), str):
        return
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
    """Say whether all settings have their values, before there is a folder of the run to name."""
    try:
        OmegaConf.to_container(section, resolve=True)
    except InterpolationResolutionError:
        return False
    return True


def _make(name: str, section: DictConfig, kind: type[Any]) -> list[Any]:
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
