"""A config as plain values, nested or by full name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gru_parallel.config.schema import Config
from gru_parallel.rules import setting_of


def plain(config: Config, sections: Collection[str] | None = None) -> dict[str, Any]:
    """Return a config as plain values, every reference replaced by its value.

    Args:
        config: what to return.
        sections: those to return; None for all.
    """
    names = [field.name for field in fields(config)] if sections is None else sections
    return {name: _plain(getattr(config, name)) for name in names}


def by_full_name(settings: Any, name: str = "") -> dict[str, Any]:
    """Return the plain settings of a section by their full names, as in {"data.stride": 1}."""
    if not isinstance(settings, dict) or not settings:
        return {name: settings} if name else {}
    named: dict[str, Any] = {}
    for key, value in settings.items():
        named |= by_full_name(value, f"{name}.{key}" if name else str(key))
    return named


def _plain(value: Any) -> Any:
    if isinstance(value, DictConfig):
        return OmegaConf.to_container(value, resolve=True)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value, dict_factory=_by_setting)
    return str(value) if isinstance(value, Path) else value


def _by_setting(fields_: list[tuple[str, Any]]) -> dict[str, Any]:
    return {setting_of(name): value for name, value in fields_}
