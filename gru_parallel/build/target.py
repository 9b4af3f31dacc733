"""Finds what a setting _target_ names: a class, or a function that makes something."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from omegaconf import DictConfig

from gru_parallel.errors import UsageError
from gru_parallel.read_config import as_written


def find_target(name: str, settings: Any) -> Any:
    """Import what the settings name as their `_target_`.

    Not by hydra.utils, which prints what it cannot import.

    Args:
        name: of the settings, such as "optimizer".
        settings: `_target_` and arguments.

    Raises:
        UsageError: there is no `_target_`, or it cannot be imported.
    """
    target = settings.get("_target_") if isinstance(settings, DictConfig) else None
    if target is None:
        raise UsageError(
            f"{name}={as_written(settings)} names no class; give it a _target_, as in"
            f" {name}._target_=package.module.Class."
        )
    try:
        return resolve_name(str(target))
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{name}._target_={target} is no class that can be imported; give its full name, as in"
            f" {name}._target_=package.module.Class."
        ) from error
