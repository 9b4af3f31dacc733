"""Spares the commands in this process most of what Hydra composes again and again.

A config is composed four times in a run, for a tenth of a second each: more than half of the time
of a small run.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra.core.utils
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.types import RunMode

_OF_THE_PACKAGE = {"hydra", "main", "schema"}
"""Where configs come from unless a test has a folder of its own, whose files may change."""

_KEPT: dict[tuple[object, ...], bytes] = {}
"""Configs, one by one and put together, by what they were made of."""


def load_configs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each config of conf/, and each choice of them, put together once for all tests.

    What is left to do for a command are its own values.
    """
    load = ConfigRepository.load_config
    compose = ConfigLoaderImpl._compose_config_from_defaults_list

    def load_once(repository: ConfigRepository, config_path: str) -> Any:
        return _once(repository, (config_path,), lambda: load(repository, config_path))

    def compose_once(loader: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> Any:
        return _once(repo, tuple(map(repr, defaults)), lambda: compose(loader, defaults, repo))

    monkeypatch.setattr(ConfigRepository, "load_config", load_once)
    monkeypatch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose_once)


def _once(repository: Any, what: tuple[str, ...], make: Callable[[], Any]) -> Any:
    sources = repository.get_sources()
    if {source.provider for source in sources} != _OF_THE_PACKAGE:
        return make()
    key = (what, *(source.path for source in sources))
    if key not in _KEPT:
        _KEPT[key] = pickle.dumps(make())
    return pickle.loads(_KEPT[key])


def compose_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each config composed once from here on: for one command, which changes no file."""
    compose = ConfigLoaderImpl.load_configuration
    composed: dict[tuple[object, ...], bytes] = {}

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
            found = compose(loader, config_name, overrides, run_mode, **options)
            composed[key] = pickle.dumps(found)
        return pickle.loads(composed[key])

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", load)
    # It would compose to see whether the config itself asks for a sweep, as none of ours does.
    monkeypatch.setattr(Hydra, "get_mode", lambda *_, **__: None)


def write_no_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the files empty that Hydra writes into .hydra: config.yaml of the run says as much."""

    def touch(cfg: Any, filename: str, output_dir: Path) -> None:
        output_dir.mkdir(parents=True, exist_ok=True)
        (output_dir / filename).touch()

    monkeypatch.setattr(hydra.core.utils, "_save_config", touch)
