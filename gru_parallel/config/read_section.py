"""Reads one section of a config by its schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    ConfigKeyError,
    ConfigTypeError,
    MissingMandatoryValue,
    ValidationError,
)

from gru_parallel.choices import meant
from gru_parallel.config.types import in_words
from gru_parallel.errors import UsageError
from gru_parallel.rules import as_written, check_rules, setting_of

Section = TypeVar("Section")


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
    values = OmegaConf.to_container(section, resolve=True)
    assert isinstance(values, Mapping)
    field_of = {setting_of(name): name for name in get_type_hints(schema)}
    section = DictConfig({field_of.get(str(key), key): each for key, each in values.items()})
    _check_loose_types(name, schema, section)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), section)
        read = OmegaConf.to_object(merged)
    except ConfigKeyError as error:
        raise UsageError(_unknown(name, schema, str(error.key))) from error
    except MissingMandatoryValue as error:
        raise UsageError(_missing(name, schema, section)) from error
    except ConfigTypeError as error:
        raise UsageError(_not_a_list(name, schema, section)) from error
    except ValidationError as error:
        # For an entry of a list, the full key continues after the name of the setting: split[0].
        key = re.split(r"[.\[]", str(error.full_key))[0]
        raise UsageError(_wrong_type(name, schema, section, key)) from error
    assert isinstance(read, schema)
    check_rules(f"{name}." if name else "", read)
    return read


def _check_loose_types(name: str, schema: type[Any], section: DictConfig) -> None:
    """Refuse what OmegaConf lets pass: other numbers for true and false, and lists in lists."""
    for key, hint in get_type_hints(schema).items():
        value = section.get(key) if key in section else None
        if hint is bool or hint == bool | None:
            is_wrong = isinstance(value, int | float) and value not in (0, 1)
        else:
            is_list = isinstance(value, ListConfig) and "Any" not in str(hint)
            is_wrong = is_list and any(OmegaConf.is_config(each) for each in value or ())
        if is_wrong:
            raise UsageError(_wrong_type(name, schema, section, key))


def _unknown(name: str, schema: type[Any], key: str) -> str:
    near = meant(key, [setting_of(field.name) for field in fields(schema)])
    remedy = "leave it out." if near is None else f"did you mean {name}.{near}? Else leave it out."
    return f"{name}.{key} is not a setting of {name}; {remedy}"


def _missing(name: str, schema: type[Any], section: DictConfig) -> str:
    keys = [field.name for field in fields(schema) if field.default is MISSING]
    lacks = [key for key in keys if key not in section or OmegaConf.is_missing(section, key)]
    missing = sorted(f"{name}.{setting_of(key)}" if name else key for key in lacks)
    verb = "is" if len(missing) == 1 else "are"
    return (
        f"{', '.join(missing)} {verb} not given, without a default; give it, as in {missing[0]}=..."
    )


def _not_a_list(name: str, schema: type[Any], section: DictConfig) -> str:
    """Find the mapping that stands for a list; OmegaConf does not tell which it is."""
    hints = get_type_hints(schema)
    mappings = [key for key in map(str, section) if isinstance(section._get_node(key), DictConfig)]
    lists = [key for key in mappings if key in hints and "brackets" in in_words(hints[key])]
    return _wrong_type(name, schema, section, lists[0])


def _wrong_type(name: str, schema: type[Any], section: DictConfig, key: str) -> str:
    written, value = setting_of(key), as_written(section.get(key))
    setting = f"{name}.{written}" if name else written
    kind = in_words(get_type_hints(schema)[key])
    return f"{setting}={value} has the wrong type; give {kind}."
