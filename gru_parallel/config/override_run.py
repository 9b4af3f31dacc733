"""Puts overrides on top of the settings of a run that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from gru_parallel.config.folders import conf_dir
from gru_parallel.config.overrides import compose_config, parse_override
from gru_parallel.config.schema import SCHEMAS
from gru_parallel.errors import UsageError
from gru_parallel.rules import as_written

KEPT = ("data", "model", "schedule", "engine", "trainer", "seed")
"""What is taken over from a run; where it ran, and what else only training uses, is not."""

TRAINING = ("optimizer", "lr_scheduler", "callbacks", "logger")
"""Sections that training alone uses."""

_UNUSED = (*TRAINING, "checkpoint", "init_from_scaling", "watch")
"""What has no effect without training."""

FREE_IN_MODEL = ("model.core",)
"""Settings of the model that change neither weights nor what is computed of them."""

FIXED_DATA = (
    "data.calendar",
    "data.centre",
    "data.columns",
    "data.future",
    "data.horizon",
    "data.input_length",
    "data.n_channels",
    "data.order",
    "data.scaling",
    "data.static",
    "data.target",
)
"""Settings of the data by which the weights were learned."""

_NOT_HERE = {
    "hydra": "is a setting of train; name what is to be written with output=",
    "experiment": "is a set of settings for train; give those that you want to change one by one",
    "ckpt_path": "gives weights, which are those of the run; choose between them with checkpoint=",
    "init_from": "gives weights, which are those of the run; choose between them with checkpoint=",
}
"""What cannot be overridden for reasons of its own."""


def override_run(
    settings: Mapping[str, Any], overrides: Sequence[str], *, trains: bool = False
) -> DictConfig:
    """Compose the settings for another use of a run's weights.

    The engine is `threads` unless an override chooses another: a launcher that the run had is not
    needed to use its weights.

    Args:
        settings: of the run, plain values by section.
        overrides: as on the command line, such as "data.path=new.csv" or "engine=processes".
        trains: whether training is resumed with them, so that its settings matter.

    Returns:
        A config for `read_config`.

    Raises:
        UsageError: an override cannot be read, names no setting, or one that the weights fix.
    """
    data = settings["data"]["name"]
    # That of the run may be one that is not installed here.
    unused = [] if trains else ["optimizer=sgd"]
    composed = compose_config([f"data={data}", "engine=threads", *unused, *overrides])
    parsed = [parse_override(text) for text in overrides]
    chosen = {each.key_or_group for each in parsed if _is_group(each.key_or_group)} | {"engine"}
    for override in parsed:
        _check(override, composed, settings, trains=trains)
    wanted = cast("dict[str, Any]", OmegaConf.to_container(composed))
    found = dict(wanted)
    for section in (*KEPT, *(TRAINING if trains else ())):
        if section not in chosen:
            found[section] = _as_it_was(wanted[section], settings[section], section)
        elif section not in TRAINING:
            # What another option has, too, stays as it was: the length of the windows, for example.
            kept = {key: value for key, value in settings[section].items() if key != "name"}
            shared = {key: value for key, value in kept.items() if key in wanted[section]}
            found[section] = wanted[section] | shared
    result = OmegaConf.create(found)
    for override in parsed:
        if not _is_group(override.key_or_group):
            _set(result, wanted, override.key_or_group)
    return result


def gives(overrides: Sequence[str], names: Sequence[str]) -> bool:
    """Whether an override gives one of these settings, or a part of it, or chooses such a group."""
    keys = [parse_override(text).key_or_group for text in overrides]
    whole = [name for name in names if not _is_group(name)]
    return any(key in names or any(key.startswith(f"{name}.") for name in whole) for key in keys)


def _as_it_was(present: Any, before: Any, section: str) -> Any:
    """Return a section of the run; a setting that there was not yet has its default."""
    return {**present, **before} if isinstance(before, Mapping) and section in SCHEMAS else before


def _check(
    override: Override, composed: DictConfig, settings: Mapping[str, Any], *, trains: bool
) -> None:
    key = override.key_or_group
    section = key.partition(".")[0]
    if section in _NOT_HERE:
        raise UsageError(f"{key} {_NOT_HERE[section]}.")
    if override.is_delete():
        raise UsageError(f"~{key} takes a setting of the run away; give it a value, {key}=...")
    if section in _UNUSED and not trains:
        raise UsageError(f"{key} is used in training alone; leave it out.")
    if key == "model":
        raise UsageError("model= chooses another model than that of the run; leave it out.")
    is_fixed = key in FIXED_DATA or (section == "model" and key not in FREE_IN_MODEL)
    before = OmegaConf.select(OmegaConf.create(dict(settings)), key)
    if is_fixed and before != OmegaConf.select(composed, key):
        raise UsageError(
            f"{key}={as_written(override.value())} is another than that of the run, {key}="
            f"{as_written(before)}, by which its weights were learned; leave it out."
        )


def _set(config: DictConfig, wanted: Mapping[str, Any], key: str) -> None:
    """Set one setting to what the overrides make of it, references included."""
    # Its ranges have to be given together.
    path = "placement.device_map" if key.startswith("placement.device_map.") else key
    value: Any = wanted
    for part in path.split("."):
        value = value[part]
    OmegaConf.update(config, path, value, merge=False, force_add=True)


def _is_group(key: str) -> bool:
    return (conf_dir() / key).is_dir()
