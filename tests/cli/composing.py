"""Spares the commands in this process most of what Hydra composes again and again.

A config is composed four times in a run, for a tenth of a second each: more than half of the time
of a small run.
"""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.types import RunMode
from omegaconf import OmegaConf

_READ: dict[tuple[object, ...], Any] = {}
"""What is in files of configs, by path, time of the last change and size."""


def read_files_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the file of a config read again only when it has changed."""
    load = OmegaConf.load

    def read(file: Any) -> Any:
        if isinstance(file, str | os.PathLike):
            return load(file)
        status = os.fstat(file.fileno())
        key = (file.name, status.st_mtime_ns, status.st_size)
        if key not in _READ:
            _READ[key] = load(file)
        return copy.deepcopy(_READ[key])

    monkeypatch.setattr(OmegaConf, "load", read)


def compose_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each config composed once from here on: for one command, which changes no file."""
    compose = ConfigLoaderImpl.load_configuration
    composed: dict[tuple[object, ...], Any] = {}

    def load(
        loader: ConfigLoaderImpl,
        config_name: str,
        overrides: list[str],
        run_mode: RunMode,
        **options: Any,
    ) -> Any:
        # hydra.main adds it to what the command has composed before, and sets it anyway.
        overrides = [text for text in overrides if text != "hydra.mode=RUN"]
        key = (config_name, *overrides, run_mode)
        if key not in composed:
            composed[key] = compose(loader, config_name, overrides, run_mode, **options)
        return copy.deepcopy(composed[key])

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", load)
    # It would compose to see whether the config itself asks for a sweep, as none of ours does.
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)
