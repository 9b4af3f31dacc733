"""Reads the overrides before Hydra does, to say in one line what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from gru_parallel.config import FREE_SECTIONS, conf_dir
from gru_parallel.errors import UsageError
from gru_parallel.mappings import check_files, check_keys, replacing

CONFIG_NAME = "config"
_PLANNED = ("accelerator", "devices", "num_nodes", "strategy")


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """Compose the config of a run.

    Args:
        overrides: as on the command line, such as "model.num_layers=8".

    Returns:
        The config, its own sections only.

    Raises:
        UsageError: an override cannot be read, would be a sweep, or names no setting or option; or
            a file of conf/ cannot be read.
    """
    check_files(conf_dir())
    parsed = [_parse(text) for text in overrides]
    for override in parsed:
        _check_no_sweep(override, ", or add --multirun for a sweep")
    _check_names([[override] for override in parsed])
    return _compose(overrides)


def run_folder(overrides: Sequence[str]) -> Path:
    """Return the folder that Hydra would make now for a run with these overrides."""
    # It knows the time only in a run.
    setup_globals()
    return Path.cwd() / str(_compose(overrides, with_hydra=True).hydra.run.dir)


def quoted(text: str) -> str:
    """Quote a value of an override, whatever characters are in it."""
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def check_sweep(overrides: Sequence[str]) -> None:
    """Check what the overrides of a sweep name, before the first of its runs.

    Args:
        overrides: as on the command line, such as "model.num_layers=8,16".

    Raises:
        UsageError: an override cannot be read, or names no setting or option.
    """
    _check_names([_values(_parse(text)) for text in overrides])


def read_values(overrides: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
    """Read overrides of settings that stand in no config.

    Args:
        overrides: as on the command line, such as "num_layers=8".
        known: names of the settings.

    Returns:
        The values by setting, those only that are given.

    Raises:
        UsageError: an override cannot be read, would be a sweep, or names no setting.
    """
    values = {}
    for override in map(_parse, overrides):
        _check_no_sweep(override)
        key = override.key_or_group
        if key not in known:
            raise UsageError(f"{key} is no setting; {_remedy(key, key, known)}")
        values[key] = override.value()
    return values


def _values(override: Override) -> list[Override]:
    """Return an override for each value that the sweep gives a setting."""
    if not override.is_sweep_override():
        return [override]
    key, _, value = str(override.input_line).partition("=")
    try:
        return [_parse(f"{key}={text}") for text in override.sweep_string_iterator()]
    except HydraException as error:
        raise UsageError(
            f"{key}={value} gives a sweep no values; list them, as in {key}=a,b."
        ) from error


def _check_names(overrides: Sequence[Sequence[Override]]) -> None:
    """Check that each override names a setting or an option.

    Args:
        overrides: for each setting that is overridden, one for each value in the sweep.
    """
    groups = _groups()
    chosen = []
    for values in overrides:
        for override in values:
            _check_option(override, groups)
        if values[0].key_or_group in groups:
            chosen.append([override.input_line or "" for override in values])
    known = list(dict.fromkeys(key for run in product(*chosen) for key in _settings(run)))
    for values in overrides:
        _check_key(values[0], known, groups)


def _compose(overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
            return compose(CONFIG_NAME, replacing(overrides), return_hydra_config=with_hydra)
    except HydraException as error:
        raise UsageError(" ".join(str(error).split())) from error


def _parse(text: str) -> Override:
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise UsageError(
            f"{text} cannot be read as an override; write setting=value, and quote values with"
            " special characters, as in 'data.path=\"a b.csv\"'."
        ) from error
    check_keys(text)
    return parsed


def _groups() -> dict[str, list[str]]:
    """Return the options of each config group, by group."""
    folders = sorted(path for path in conf_dir().iterdir() if path.is_dir())
    return {folder.name: sorted(path.stem for path in folder.glob("*.yaml")) for folder in folders}


def _check_no_sweep(override: Override, or_else: str = "") -> None:
    if not override.is_sweep_override():
        return
    key, _, value = str(override.input_line).partition("=")
    raise UsageError(
        f"{key}={value} is read as a sweep, one run for each value; write {key}=[{value}] with"
        f" brackets for a list{or_else}."
    )


def _check_option(override: Override, groups: dict[str, list[str]]) -> None:
    group = override.key_or_group
    if group not in groups or override.is_delete():
        return
    value = override.value()
    if value is None and group == "experiment":
        return
    if value not in groups[group]:
        near = get_close_matches(str(value), groups[group], n=1)
        hint = f"did you mean {group}={near[0]}? There are" if near else "use one of"
        raise UsageError(
            f"{group}={value} is no option of {group}; {hint} {', '.join(groups[group])}."
        )


@cache
def _settings(options: tuple[str, ...], with_hydra: bool = False) -> list[str]:
    """Return the full names of all settings that there are with these options of the groups."""
    return _keys(_compose(options, with_hydra))


def _keys(config: DictConfig) -> list[str]:
    """Return the full names of all settings."""
    found: list[str] = []

    def visit(node: DictConfig, prefix: str) -> None:
        for key in node:
            name = f"{prefix}{key!s}"
            found.append(name)
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none():
                visit(child, f"{name}.")

    visit(config, "")
    return found


def _check_key(override: Override, known: Sequence[str], groups: dict[str, list[str]]) -> None:
    key = override.key_or_group
    if key in known or key in groups or override.is_add() or override.is_delete():
        return
    if key.startswith(("hydra/", "placement.device_map.")):
        return
    section, _, name = key.partition(".")
    if section == "hydra":
        _check_key_of_hydra(key)
        return
    if section == "trainer" and name in _PLANNED:
        raise UsageError(f"{key} is decided by the plan; choose devices with placement.device_map.")
    owner = _owner(key, groups)
    if owner is not None:
        raise UsageError(f"{key} is a setting of {owner}; add {owner} to use it.")
    raise UsageError(f"{key} is no setting; {_remedy(key, section, known)}")


def _check_key_of_hydra(key: str) -> None:
    known = [name for name in _settings((), with_hydra=True) if name.startswith("hydra.")]
    if key not in known:
        near = get_close_matches(key, known, n=1, cutoff=0.0)
        raise UsageError(f"{key} is no setting of Hydra; did you mean {near[0]}?")


def _remedy(key: str, section: str, known: Sequence[str]) -> str:
    """Say what could have been meant: a setting of the same section, or else any."""
    siblings = [name for name in known if name.startswith(f"{section}.")]
    near = get_close_matches(key, siblings or known, n=1, cutoff=0.7)
    if near:
        return f"did you mean {near[0]}?"
    if section in FREE_SECTIONS and siblings:
        return f"to pass it on as it is, write +{key}=..."
    return f"there are {', '.join(siblings or [name for name in known if '.' not in name])}."


def _owner(key: str, groups: dict[str, list[str]]) -> str | None:
    """Return the option of the key's group that has the key, such as data=csv for data.path."""
    group, _, name = key.partition(".")
    for option in groups.get(group, []):
        path = conf_dir() / group / f"{option}.yaml"
        if name and name in OmegaConf.to_container(OmegaConf.load(path)):  # type: ignore[operator]
            return f"{group}={option}"
    return None
