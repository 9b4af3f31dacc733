"""Reads the overrides before Hydra does, to report in one line what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeperConf
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gru_parallel.choices import meant
from gru_parallel.config.folders import conf_dir
from gru_parallel.config.for_hydra import for_hydra
from gru_parallel.config.mappings import check_files, check_keys
from gru_parallel.config.setting_names import Names, full_names, options_of_groups
from gru_parallel.errors import UsageError

CONFIG_NAME = "config"
_SEARCH_PATH = "hydra.searchpath"
_SWEEPER_VALUES = "hydra.sweeper.params"
_REFERENCE_TO_HYDRA = re.compile(r"\$\{hydra:([\w.]+)\}")


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """Compose the config of a run.

    Args:
        overrides: as on the command line, such as "model.num_layers=8".

    Returns:
        The config, without the section of Hydra.

    Raises:
        UsageError: an override cannot be read, would be a sweep, or names no setting or option; or
            a file of conf/ cannot be read.
    """
    check_files(conf_dir())
    parsed = [parse_override(text) for text in overrides]
    for override in parsed:
        _check_no_sweep(override, ", or add --multirun for a sweep")
    _check_names([[override] for override in parsed])
    return _compose(overrides)


def run_folder(overrides: Sequence[str]) -> Path:
    """Return the folder that Hydra would make now for a run with these overrides.

    Raises:
        OmegaConfBaseException: it cannot be worked out before the run.
    """
    return Path.cwd() / str(OmegaConf.select(compose_with_hydra(overrides), "hydra.run.dir"))


def compose_with_hydra(overrides: Sequence[str]) -> DictConfig:
    """Compose the config of a run with the section of Hydra.

    Raises:
        UsageError: it cannot be composed.
    """
    # It knows the time only in a run.
    setup_globals()
    return _compose(overrides, with_hydra=True)


def quoted(text: str) -> str:
    """Quote a value of an override, whatever its characters."""
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def search_in(folder: Path) -> str:
    """Return the override that adds a folder of configs."""
    return f"{_SEARCH_PATH}=[{quoted(f'file://{folder.resolve()}')}]"


def check_sweep(overrides: Sequence[str]) -> dict[str, int]:
    """Check what the overrides of a sweep name, before the first of its runs.

    Args:
        overrides: as on the command line, such as "model.num_layers=8,16".

    Returns:
        How many values each setting has that has several.

    Raises:
        UsageError: an override cannot be read, or names no setting or option.
    """
    values = [_values(parse_override(text)) for text in overrides]
    _check_names(values)
    # Of two for one setting, Hydra takes the second.
    counts = {str(each[0].key_or_group): len(each) for each in values}
    return {name: count for name, count in counts.items() if count > 1}


def with_values_of_sweeper(overrides: Sequence[str]) -> tuple[list[str], bool]:
    """Add the values that a file of configs gives the sweeper, in hydra.sweeper.params.

    Args:
        overrides: as on the command line of a sweep.

    Returns:
        The overrides, and whether they tell how many runs there are: another sweeper than that of
        Hydra decides by itself.

    Raises:
        UsageError: the sweep cannot be composed.
    """
    sweeper = _compose(overrides, sweep=True).hydra.sweeper
    counts = sweeper._target_ == BasicSweeperConf._target_
    values = (sweeper.params or {}) if counts else {}
    return [*(f"{name}={value}" for name, value in values.items()), *overrides], counts


def runs_of_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run of a sweep, in the order of the runs.

    Raises:
        UsageError: an override cannot be read, or gives no values.
    """
    # Of two for one setting, Hydra takes the second.
    values = {each.get_key_element(): _values(each) for each in map(parse_override, overrides)}
    return [[str(each.input_line) for each in run] for run in product(*values.values())]


def read_values(overrides: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
    """Read overrides of settings that are in no config file.

    Args:
        overrides: as on the command line, such as "num_layers=8".
        known: names of the settings.

    Returns:
        The values by setting, those only that are given.

    Raises:
        UsageError: an override cannot be read, would be a sweep, or names no setting.
    """
    values = {}
    names = Names(dict.fromkeys(known), {})
    for override in map(parse_override, overrides):
        _check_no_sweep(override)
        key = override.key_or_group
        if key not in known:
            raise UsageError(f"{key} is not a setting; {names.remedy(key)}")
        if override.is_delete() or override.is_add():
            raise UsageError(
                f"{override.input_line} adds or takes away a setting; give it a value, {key}=..."
            )
        values[key] = override.value()
    return values


def setting_called(name: str) -> str | None:
    """Return the full name of the setting with this name, or a similar one."""
    known = [key for key in _settings(()) if not is_of_hydra(key)]
    last = {full.rpartition(".")[2]: full for full in reversed(known)}
    return name if name in known else last.get(name) or meant(name, known, cutoff=0.8)


def _values(override: Override) -> list[Override]:
    """Return one override for each value that the sweep gives a setting."""
    if not override.is_sweep_override():
        return [override]
    key, _, value = str(override.input_line).partition("=")
    try:
        values = [parse_override(f"{key}={text}") for text in override.sweep_string_iterator()]
    except (HydraException, OmegaConfBaseException):
        values = []
    if not values:
        raise UsageError(f"{key}={value} gives a sweep no values; list them, as in {key}=a,b.")
    return values


def _check_names(overrides: Sequence[Sequence[Override]]) -> None:
    """Check that each override names a setting or an option.

    Args:
        overrides: for each setting that is overridden, one for each value in the sweep.
    """
    if not overrides:
        return
    for values in overrides:
        _check_hydra(values[0])
    given = {values[0].key_or_group: values for values in overrides}
    folders = _folders(given.get(_SEARCH_PATH, []))
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{_SEARCH_PATH}=[{folder}] is not a folder; give one with configs.")
        check_files(folder)
    search = [str(each.input_line) for each in given.get(_SEARCH_PATH, [])[:1]]
    names = Names({}, options_of_groups([conf_dir(), *folders]))
    for values in overrides:
        for override in values:
            names.check_option(override)
    chosen = [
        [str(override.input_line) for override in values]
        for key, values in given.items()
        if key in names.groups and not values[0].is_delete()
    ]
    settings: dict[str, Any] = {}
    for run in product(*chosen):
        composed = _settings((*search, *run))
        settings |= {key: value for key, value in composed.items() if not is_of_hydra(key)}
    settings |= {key: values[0].value() for key, values in given.items() if key in settings}
    names = Names(settings, names.groups)
    for values in overrides:
        names.check_key(values[0])


def _folders(search_path: Sequence[Override]) -> list[Path]:
    """Return the folders of configs that the overrides add."""
    values = [value for override in search_path for value in _as_list(override.value())]
    texts = [str(value).strip("\"'") for value in values]
    # Hydra finds those in packages.
    return [Path(text.removeprefix("file://")) for text in texts if not text.startswith("pkg://")]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _compose(
    overrides: Sequence[str], with_hydra: bool = False, *, sweep: bool = False
) -> DictConfig:
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
            if sweep:
                load = GlobalHydra.instance().config_loader().load_configuration
                return load(CONFIG_NAME, for_hydra(overrides), RunMode.MULTIRUN, from_shell=False)
            return compose(CONFIG_NAME, for_hydra(overrides), return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        # For some faults the message only tells where they are.
        cause = str(error.__cause__ or "").partition("\n")[0]
        raise UsageError(
            f"{reason}: {cause}" if cause and cause not in reason else reason
        ) from error


def parse_override(text: str) -> Override:
    """Read one override, such as "model.num_layers=8".

    Raises:
        UsageError: it cannot be read, or gives a mapping with a key twice.
    """
    try:
        parsed = _parser().parse_override(text)
    except HydraException as error:
        raise UsageError(
            f"{text} cannot be read as an override; write setting=value, and quote values with"
            " special characters, as in 'data.path=\"a b.csv\"'."
        ) from error
    check_keys(text)
    return parsed


@cache
def _parser() -> OverridesParser:
    """Return the one that reads all overrides: it is made as slowly as it reads one."""
    return OverridesParser.create()


def _check_no_sweep(override: Override, or_else: str = "") -> None:
    if not override.is_sweep_override():
        return
    key, _, value = str(override.input_line).partition("=")
    if (conf_dir() / key).is_dir():
        raise UsageError(
            f"{key}={value} is read as a sweep, one run for each value; choose one of"
            f" them{or_else}."
        )
    raise UsageError(
        f"{key}={value} is read as a sweep, one run for each value; write {key}=[{value}] with"
        f" brackets for a list{or_else}."
    )


@cache
def _settings(options: tuple[str, ...]) -> Mapping[str, Any]:
    """Return all settings that exist with these options of the groups, by full name.

    Those of Hydra, too: each config that is composed takes a fifth of a second.
    """
    return full_names(_compose(options, with_hydra=True))


def is_of_hydra(key: str) -> bool:
    """Whether a setting, or a group of options, is one of Hydra's own."""
    return key.partition("/")[0].partition(".")[0] == "hydra"


def _check_hydra(override: Override) -> None:
    """Check an override of Hydra's settings: what it sets, and what it refers to."""
    if override.key_or_group.startswith(_SWEEPER_VALUES) and override.value() is not None:
        # OmegaConf cannot merge it into the default, which is none.
        raise UsageError(
            f"{override.key_or_group} is for files of configs; here give the settings themselves"
            " several values, as in seed=1,2, and --multirun."
        )
    if override.key_or_group.partition(".")[0] == "hydra":
        _check_key_of_hydra(override.key_or_group)
    for key in _REFERENCE_TO_HYDRA.findall(str(override.input_line)):
        _check_key_of_hydra(f"hydra.{key}")


def _check_key_of_hydra(key: str) -> None:
    # Not the whole of Hydra's section.
    known = [name for name in _settings(()) if name.startswith("hydra.")]
    if key not in known:
        near = meant(key, known, cutoff=0.0)
        raise UsageError(f"{key} is not a setting of Hydra; did you mean {near}?")
