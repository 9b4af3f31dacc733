"""Reads a composed config by its schema, and refuses what cannot work."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigKeyError,
    MissingMandatoryValue,
    ValidationError,
)

from gru_parallel.config import (
    DATA_SCHEMAS,
    ENGINE_SCHEMAS,
    FREE_SECTIONS,
    SCHEMAS,
    Config,
    ProcessesConfig,
)
from gru_parallel.errors import UsageError
from gru_parallel.model.block import POLICIES

Section = TypeVar("Section")

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list[float]": "numbers in brackets",
    "list[int]": "whole numbers in brackets",
    "list[str]": "names in brackets",
    "str": "a text",
}

_CHOICES = {
    "model.encoder": ("linear", "none"),
    "model.head": ("window", "every_step"),
    "model.loss": ("mse", "mae", "huber"),
    "data.split_by": ("time", "series"),
    "data.order": ("shuffled", "streams"),
    "data.missing": ("error", "interpolate", "drop"),
}


def as_written(value: Any) -> Any:
    """Return a setting's value as one writes it on the command line."""
    return "null" if value is None else value


def read_config(composed: DictConfig) -> Config:
    """Check a config that Hydra has composed.

    Raises:
        UsageError: a key is unknown, or a value has the wrong type, is too small, is none of the
            choices, or does not go with another.
    """
    name = composed.data.name
    if name not in DATA_SCHEMAS:
        raise UsageError(
            f"data.name={name} is no kind of data; use one of {', '.join(DATA_SCHEMAS)}."
        )
    engine = composed.engine.name
    if engine not in ENGINE_SCHEMAS:
        raise UsageError(
            f"engine.name={engine} is no engine; use one of {', '.join(ENGINE_SCHEMAS)}."
        )
    sections: dict[str, Any] = {
        "data": read_section("data", DATA_SCHEMAS[name], composed.data),
        "engine": read_section("engine", ENGINE_SCHEMAS[engine], composed.engine),
    }
    for section, schema in SCHEMAS.items():
        sections[section] = read_section(section, schema, composed[section])
    known = {field.name for field in fields(Config)}
    for key in map(str, composed):
        if key not in known:
            raise UsageError(f"{key} is no section of the config; use {', '.join(sorted(known))}.")
    config = Config(
        **sections,
        **{section: composed[section] for section in FREE_SECTIONS},
        seed=_read_seed(composed.seed),
        ckpt_path=None if composed.ckpt_path is None else Path(str(composed.ckpt_path)),
    )
    _check_sizes(config)
    _check_choices(config)
    _check_grid(config)
    _check_blocks(config)
    if isinstance(config.engine, ProcessesConfig):
        _check_processes(config, config.engine)
    return config


def read_section(name: str, schema: type[Section], section: DictConfig) -> Section:
    """Read one section of a config.

    Args:
        name: of the section; "" for settings that stand in none.
        schema: a dataclass with the section's settings.
        section: what is set.

    Raises:
        UsageError: a key is unknown, a value has the wrong type or is not given.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), section)
        read = OmegaConf.to_object(merged)
    except ConfigKeyError as error:
        raise UsageError(f"{name}.{error.key} is no setting of {name}; leave it out.") from error
    except MissingMandatoryValue as error:
        raise UsageError(_missing(name, section)) from error
    except ValidationError as error:
        # For an entry of a list, the full key goes on after the name of the setting: split[0].
        key = re.split(r"[.\[]", str(error.full_key))[0]
        raise UsageError(_wrong_type(name, schema, section, key)) from error
    assert isinstance(read, schema)
    return read


def _missing(name: str, section: DictConfig) -> str:
    keys = (str(key) for key in section if OmegaConf.is_missing(section, key))
    missing = sorted(f"{name}.{key}" for key in keys)
    return f"{', '.join(missing)} is not given, and has no default; give it, as in {missing[0]}=..."


def _wrong_type(name: str, schema: type[Any], section: DictConfig, key: str) -> str:
    annotation = next((str(f.type) for f in fields(schema) if f.name == key), "")
    value = as_written(section.get(key))
    setting = f"{name}.{key}" if name else key
    for kind, words in _KINDS.items():
        if annotation.startswith(kind):
            return f"{setting}={value} has the wrong type; give {words}."
    return f"{setting}={value} has the wrong type; the schema says {annotation}."


def _read_seed(seed: Any) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise UsageError(f"seed={seed} is no seed; use a whole number from 0 to {2**32 - 1}.")
    return seed


def _check_sizes(config: Config) -> None:
    sizes = {
        "data.input_length": config.data.input_length,
        "data.horizon": config.data.horizon,
        "data.batch_size": config.data.batch_size,
        "data.stride": config.data.stride,
        "model.num_layers": config.model.num_layers,
        "model.layers_per_block": config.model.layers_per_block,
        "model.hidden_size": config.model.hidden_size,
        "schedule.n_micro_batches": config.schedule.n_micro_batches,
        "schedule.n_chunks": config.schedule.n_chunks,
        "trainer.accumulate_grad_batches": config.trainer.get("accumulate_grad_batches"),
        "trainer.log_every_n_steps": config.trainer.get("log_every_n_steps"),
    }
    if config.schedule.truncate is not None:
        sizes["schedule.truncate"] = config.schedule.truncate
    for name, value in sizes.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(
                f"{name}={as_written(value)} is not positive; use a whole number of at least 1."
            )
    for name in ("check_val_every_n_epoch", "val_check_interval"):
        value = config.trainer.get(name)
        if isinstance(value, int | float) and value <= 0:
            raise UsageError(f"trainer.{name}={value} is not positive; use a number above 0.")
    if config.data.num_workers < 0:
        raise UsageError(f"data.num_workers={config.data.num_workers} is negative; use 0 or more.")
    if not 0.0 <= config.model.dropout < 1.0:
        raise UsageError(
            f"model.dropout={config.model.dropout:g} is no probability below 1;"
            " use 0 <= model.dropout < 1."
        )
    rate = config.optimizer.get("lr", 1.0)
    if not (isinstance(rate, int | float) and rate > 0):
        raise UsageError(
            f"optimizer.lr={as_written(rate)} is no learning rate; use a number above 0."
        )


def _check_processes(config: Config, engine: ProcessesConfig) -> None:
    if engine.data_parallel < 1:
        raise UsageError(
            f"engine.data_parallel={engine.data_parallel} is not positive; use a whole number of at"
            " least 1."
        )
    if not engine.timeout_s > 0:
        raise UsageError(
            f"engine.timeout_s={engine.timeout_s:g} is no time; use a number of seconds above 0."
        )
    n_rows = config.data.batch_size // engine.data_parallel
    if config.schedule.n_micro_batches > n_rows:
        raise UsageError(
            f"schedule.n_micro_batches={config.schedule.n_micro_batches} exceeds the {n_rows}"
            f" windows of a replica's batch (data.batch_size={config.data.batch_size},"
            f" engine.data_parallel={engine.data_parallel}); use fewer of both, or larger batches."
        )
    if config.trainer.get("precision") in ("16-mixed", "16", 16):
        raise UsageError(
            "trainer.precision=16-mixed scales the loss by what one process sees of the gradients,"
            " and with engine=processes each sees its own; use trainer.precision=bf16-mixed."
        )


def _check_choices(config: Config) -> None:
    for name, choices in _CHOICES.items():
        section, key = name.split(".")
        value = getattr(getattr(config, section), key, choices[0])
        if value not in choices:
            raise UsageError(f"{name}={value} is no choice; use one of {', '.join(choices)}.")


def _check_blocks(config: Config) -> None:
    both_ways = _as_list(config.model.bidirectional)
    if not all(isinstance(answer, bool) for answer in both_ways):
        raise UsageError(
            f"model.bidirectional={_shown(both_ways)} has the wrong type; give true or false, or"
            " one of them for each block in brackets."
        )
    policies = _as_list(config.model.h_0)
    for policy in policies:
        if policy not in POLICIES:
            raise UsageError(
                f"model.h_0={_shown(policies)}: {policy} is no choice; use one of"
                f" {', '.join(POLICIES)}, or one of them for each block in brackets."
            )
    if "given" in policies:
        raise UsageError(
            "model.h_0=given needs windows that bring an h_0 of their own, which no file does; use"
            " another policy, or train from Python with batches that have an 'h_0'."
        )
    if "carry" in policies and config.data.order != "streams":
        raise UsageError(
            f"model.h_0=carry goes on from window to window, but data.order={config.data.order}"
            " mixes them up; set data.order=streams."
        )


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _shown(values: list[Any]) -> str:
    return str(values[0]) if len(values) == 1 else f"[{','.join(map(str, values))}]"


def _check_grid(config: Config) -> None:
    schedule, data = config.schedule, config.data
    if schedule.n_chunks > data.input_length:
        raise UsageError(
            f"schedule.n_chunks={schedule.n_chunks} exceeds the {data.input_length} time steps of a"
            f" window (data.input_length={data.input_length});"
            f" use schedule.n_chunks <= {data.input_length}."
        )
    if schedule.truncate is not None and schedule.truncate >= schedule.n_chunks:
        raise UsageError(
            f"schedule.truncate={schedule.truncate} cuts nothing: a window has schedule.n_chunks="
            f"{schedule.n_chunks} chunks; use a smaller schedule.truncate, or leave it out."
        )
    if schedule.n_micro_batches > data.batch_size:
        raise UsageError(
            f"schedule.n_micro_batches={schedule.n_micro_batches} exceeds the {data.batch_size}"
            f" windows of a batch (data.batch_size={data.batch_size});"
            f" use schedule.n_micro_batches <= {data.batch_size}."
        )
