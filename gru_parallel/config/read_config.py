"""Reads a composed config by its schema, and refuses what cannot work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from gru_parallel.config.check_config import check_config
from gru_parallel.config.check_training import check_training
from gru_parallel.config.schema import FREE_SECTIONS, SCHEMAS, Config
from gru_parallel.config.types import in_words
from gru_parallel.errors import UsageError
from gru_parallel.rules import SEED, as_written, check_rules

Section = TypeVar("Section")

# What the settings of the folder of a run can only mean when the run has one.
_UNKNOWN_BEFORE_THE_RUN = "HydraConfig was not set"


def read_config(composed: DictConfig) -> Config:
    """Check a config that Hydra has composed.

    Raises:
        UsageError: a section or a setting is not there, a key is unknown, a reference leads to
            nothing, or a value has the wrong type, is too small, is none of the choices, or does
            not go with another.
    """
    check_references(composed)
    _check_sections(composed)
    sections: dict[str, Any] = {
        name: read_section(name, _schema(name, composed[name]), composed[name]) for name in SCHEMAS
    }
    config = Config(
        **sections,
        **{section: composed[section] for section in FREE_SECTIONS},
        seed=_read_seed(composed.seed),
        ckpt_path=_read_path(composed.ckpt_path),
        init_from=_read_path(composed.init_from),
    )
    if config.ckpt_path is not None and config.init_from is not None:
        raise UsageError(
            f"ckpt_path={config.ckpt_path} resumes a run, and init_from={config.init_from}"
            " begins a new one with another's weights; give one of them."
        )
    check_config(config)
    check_training(config)
    return config


def read_section(name: str, schema: type[Section], section: DictConfig) -> Section:
    """Read one section of a config.

    Args:
        name: of the section; "" for settings outside of sections.
        schema: a dataclass with the section's settings.
        section: what is set.

    Raises:
        UsageError: a key is unknown; a value has the wrong type, is not given, or breaks a rule.
    """
    # With references to other sections resolved, which the schema does not know.
    section = DictConfig(OmegaConf.to_container(section, resolve=True))
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), section)
        read = OmegaConf.to_object(merged)
    except ConfigKeyError as error:
        raise UsageError(f"{name}.{error.key} is not a setting of {name}; leave it out.") from error
    except MissingMandatoryValue as error:
        raise UsageError(_missing(name, schema, section)) from error
    except ValidationError as error:
        # For an entry of a list, the full key continues after the name of the setting: split[0].
        key = re.split(r"[.\[]", str(error.full_key))[0]
        raise UsageError(_wrong_type(name, schema, section, key)) from error
    assert isinstance(read, schema)
    check_rules(f"{name}." if name else "", read)
    return read


def check_references(config: DictConfig) -> None:
    """Check that every ${reference} leads to a value, as far as is known before the run.

    Raises:
        UsageError: one does not.
    """
    for name, node, key in _references(config, ""):
        written = OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[index]
        try:
            _ = node[key]
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0].rstrip(".")
            if _UNKNOWN_BEFORE_THE_RUN not in reason:
                raise UsageError(
                    f"{name}={written} leads to no value ({reason}); refer to something that"
                    " there is, or give a value."
                ) from error


def _references(node: DictConfig | ListConfig, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the full name, the container and the key of every value that is a reference."""
    keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        name = f"{prefix}{key!s}"
        if OmegaConf.is_interpolation(node, key):
            yield name, node, key
            continue
        child = node._get_node(key)
        if isinstance(child, DictConfig | ListConfig) and not child._is_none():
            yield from _references(child, f"{name}.")


def _check_sections(composed: DictConfig) -> None:
    known = {field.name for field in fields(Config)}
    for key in map(str, composed):
        if key not in known:
            raise UsageError(
                f"{key} is not a section of the config; use {', '.join(sorted(known))}."
            )
    for key in sorted(known):
        if key not in composed:
            raise UsageError(f"{key} is not in the config, and a run needs it; give it.")
        if key in ("seed", "ckpt_path", "init_from"):
            continue
        if not isinstance(composed[key], DictConfig):
            raise UsageError(
                f"{key}={as_written(composed[key])} is not a section with settings; choose an"
                f" option of {key}, or give its settings one by one, as in {key}.name=value."
            )


def _schema(group: str, section: DictConfig) -> type[Any]:
    """Return the schema of a section, by its name if there are several."""
    schemas = SCHEMAS[group]
    if "" in schemas:
        return schemas[""]
    name = section.get("name")
    if name not in schemas:
        kind = "kind of data" if group == "data" else group
        raise UsageError(
            f"{group}.name={as_written(name)} is not a valid {kind}; use one of"
            f" {', '.join(schemas)}."
        )
    # To OmegaConf, a key whose value is still missing (???) is not in a section.
    given = set(map(str, section))
    missing = [field.name for field in fields(schemas[name]) if field.name not in given]
    if missing:
        raise UsageError(
            f"{group}.name={name} is only the name of an option, without its"
            f" {', '.join(missing)}; choose it, with all its settings,"
            f" by {group}={name}."
        )
    return schemas[name]


def _missing(name: str, schema: type[Any], section: DictConfig) -> str:
    keys = [field.name for field in fields(schema)]
    lacks = [key for key in keys if key not in section or OmegaConf.is_missing(section, key)]
    missing = sorted(f"{name}.{key}" if name else key for key in lacks)
    verb = "is" if len(missing) == 1 else "are"
    return (
        f"{', '.join(missing)} {verb} not given, without a default; give it, as in {missing[0]}=..."
    )


def _wrong_type(name: str, schema: type[Any], section: DictConfig, key: str) -> str:
    setting, value = f"{name}.{key}" if name else key, as_written(section.get(key))
    kind = in_words(get_type_hints(schema)[key])
    return f"{setting}={value} has the wrong type; give {kind}."


def _read_seed(seed: Any) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or not SEED.holds(seed):
        raise UsageError(f"seed={as_written(seed)} {SEED.otherwise}")
    return seed


def _read_path(path: Any) -> Path | None:
    return None if path is None else Path(str(path)).expanduser()
