"""Spares the commands in this process most of what Hydra composes again and again.

A config is composed four times in a run, for a tenth of a second each, and read twice: more than
half of the time of a small run. Each override is parsed as often, and all files of conf/ are
checked.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra.core.utils
import pytest
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from gru_parallel.config import mappings, read_config

_OF_THE_PACKAGE = {"hydra", "main", "schema"}
"""Where configs come from unless a test has a folder of its own, whose files may change."""

_KEPT: dict[tuple[object, ...], bytes] = {}
"""Configs, one by one and put together, their sections, and overrides, by what made them."""

_SOUND: set[tuple[Path, bytes]] = set()
"""Files of configs that were checked, with what was in them."""


def load_configs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each config of conf/, and each choice of them, put together once for all tests.

    What is left to do for a command are its own values. Each override is parsed once, too.
    """
    _check_files_once(monkeypatch)
    _parse_overrides_once(monkeypatch)
    load = ConfigRepository.load_config
    compose = ConfigLoaderImpl._compose_config_from_defaults_list
    choose = defaults_list._create_defaults_list

    def load_once(repository: ConfigRepository, config_path: str) -> Any:
        return _once(repository, (config_path,), lambda: load(repository, config_path))

    def compose_once(loader: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> Any:
        return _once(repo, tuple(map(repr, defaults)), lambda: compose(loader, defaults, repo))

    def choose_once(repo: Any, config_name: str, overrides: Any, **options: Any) -> Any:
        # What is chosen, and changed in place; the others are values of settings.
        chosen = {name: kept for name, kept in vars(overrides).items() if "config" not in name}
        what = (config_name, pickle.dumps((chosen, options)))
        found, after = _once(
            repo, what, lambda: (choose(repo, config_name, overrides, **options), chosen)
        )
        vars(overrides).update(after)
        return found

    def copy_flat(cached: CachingConfigRepository, repository: ConfigRepository) -> None:
        # Hydra copies all that is in it; what changes are the repository's own attributes.
        vars(cached).update(delegate=copy.copy(repository), cache={})

    monkeypatch.setattr(CachingConfigRepository, "__init__", copy_flat)
    monkeypatch.setattr(ConfigRepository, "load_config", load_once)
    monkeypatch.setattr(defaults_list, "_create_defaults_list", choose_once)
    monkeypatch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose_once)


def _check_files_once(monkeypatch: pytest.MonkeyPatch) -> None:
    check = mappings.check_file

    def check_once(path: Path) -> None:
        what = (path, path.read_bytes())
        if what not in _SOUND:
            check(path)
            _SOUND.add(what)

    monkeypatch.setattr(mappings, "check_file", check_once)


def _parse_overrides_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = OverridesParser.parse_rule

    def parse_once(parser: OverridesParser, text: str, rule: str) -> Any:
        return _kept((OverridesParser, text, rule), lambda: parse(parser, text, rule))

    monkeypatch.setattr(OverridesParser, "parse_rule", parse_once)


def read_sections_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each section with the same values read by its schema once for all tests."""
    read = read_config.read_section

    def read_once(name: str, schema: type[Any], section: Any) -> Any:
        values = repr(OmegaConf.to_container(section, resolve=True))
        return _kept((name, schema, values), lambda: read(name, schema, section))

    monkeypatch.setattr(read_config, "read_section", read_once)


def _once(repository: Any, what: tuple[object, ...], make: Callable[[], Any]) -> Any:
    sources = repository.get_sources()
    if {source.provider for source in sources} != _OF_THE_PACKAGE:
        return make()
    return _kept((what, *(source.path for source in sources)), make)


def _kept(key: tuple[object, ...], make: Callable[[], Any]) -> Any:
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
