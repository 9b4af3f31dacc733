"""Settings of a run, and whether they are those of a run that was kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from gru_parallel.config.data_section import CsvConfig
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.plain import by_full_name, plain
from gru_parallel.config.read_config import read_config
from gru_parallel.config.schema import Config

Settings = Mapping[str, Any]
"""By full name, as JSON has them."""

AROUND = {"cluster", "placement", "plan", "checkpoint", "watch", "logger", "seed"}
"""Sections that move no error: where a run trains, what it writes; and the seed, which is known."""

WHERE = "data.path"
"""A series is the same wherever it lies."""

_ABSENT = object()


@dataclass(frozen=True)
class RunSettings:
    """The settings that errors of a run depend on.

    Attributes:
        own: all of them.
        default: what they are if nothing is asked for but the kind of series.
    """

    own: Settings
    default: Settings

    def are_those_of(self, kept: Settings) -> bool:
        """Whether a run that was kept with these settings is one with the own.

        A setting that there was none of then has to be at its default, since it was new and left
        the run as it is.
        """
        then = {**self.default, **kept}
        return kept.keys() <= self.own.keys() and all(
            then.get(name, _ABSENT) == value for name, value in self.own.items()
        )


@cache
def run_settings(overrides: tuple[str, ...]) -> RunSettings:
    """Return what overrides of `gru_parallel.train` ask for."""
    config = read_config(compose_config(list(overrides)))
    bare = [f"data={config.data.name}"]
    if isinstance(config.data, CsvConfig):
        bare.append(f"{WHERE}={config.data.path}")
    return RunSettings(_named(config), _named(read_config(compose_config(bare))))


def _named(config: Config) -> Settings:
    sections = [field.name for field in fields(config) if field.name not in AROUND]
    named = by_full_name(plain(config, sections))
    named.pop(WHERE, None)
    settings: Settings = json.loads(json.dumps(named))
    return settings
