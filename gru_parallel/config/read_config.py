"""Reads a composed config by its schema, and refuses what cannot work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gru_parallel.choices import COST_SOURCES, SCALINGS
from gru_parallel.config.check_config import check_config
from gru_parallel.config.check_training import check_training
from gru_parallel.config.read_cluster import read_cluster
from gru_parallel.config.read_section import read_section
from gru_parallel.config.schema import FREE_SECTIONS, SCHEMAS, Config
from gru_parallel.errors import UsageError
from gru_parallel.rules import SEED, as_written, one_of

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
        name: read_section(name, schema_of(name, composed[name]), composed[name])
        for name in SCHEMAS
    }
    sections["cluster"] = read_cluster(sections["cluster"])
    config = Config(
        **sections,
        **{section: composed[section] for section in FREE_SECTIONS},
        seed=_read_seed(composed.seed),
        ckpt_path=_read_path(composed.ckpt_path),
        init_from=_read_path(composed.init_from),
        init_from_scaling=_read_choice(composed, "init_from_scaling", SCALINGS),
        plan=_read_choice(composed, "plan", COST_SOURCES),
    )
    if None not in (config.ckpt_path, config.init_from) and not config.asks_for_last:
        raise UsageError(
            f"ckpt_path={config.ckpt_path} resumes a run, and init_from={config.init_from}"
            " begins a new one with another's weights; give one of them."
        )
    check_config(config)
    check_training(config)
    return config


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
        if key in ("seed", "ckpt_path", "init_from", "init_from_scaling", "plan"):
            continue
        if not isinstance(composed[key], DictConfig):
            raise UsageError(
                f"{key}={as_written(composed[key])} is not a section with settings; choose an"
                f" option of {key}, or give its settings one by one, as in {key}.name=value."
            )


def schema_of(group: str, section: DictConfig) -> type[Any]:
    """Return the schema of a section, by its name if there are several.

    Raises:
        UsageError: none has this name, or other settings of the one that has are not given.
    """
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


def _read_seed(seed: Any) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or not SEED.holds(seed):
        raise UsageError(f"seed={as_written(seed)} {SEED.otherwise}")
    return seed


def _read_choice(composed: DictConfig, name: str, choices: Sequence[str]) -> str:
    value, rule = composed[name], one_of(*choices)
    if not isinstance(value, str) or not rule.holds(value):
        raise UsageError(f"{name}={as_written(value)} {rule.otherwise}")
    return value


def _read_path(path: Any) -> Path | None:
    return None if path is None else Path(str(path)).expanduser()
