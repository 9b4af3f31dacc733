"""The command lines of evaluate, predict and others that use a finished run: run=DIR and more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, TypeVar

from omegaconf import OmegaConf

from gru_parallel.choices import CHECKPOINTS, hint
from gru_parallel.config.overrides import compose_config, parse_override, read_values
from gru_parallel.config.read_config import check_references, schema_of
from gru_parallel.config.read_section import read_section
from gru_parallel.config.schema import Config, EngineConfig, ProcessesConfig
from gru_parallel.errors import UsageError
from gru_parallel.rules import one_of

RUN_HELP = """run=DIR             folder of the run, or one of its checkpoints
checkpoint=best     or last: which of its checkpoints, where run is a folder"""
"""The settings that all of these commands have, for --help."""

OVERRIDES_HELP = """All other settings are those of the run, and are overridden as in train:
data.path=FILE, placement.device_map=[0,0,1,1], engine=processes (under torchrun) ...
What the weights fix is refused: model.*, the length of windows, horizon, columns, targets."""


@dataclass(frozen=True)
class UseSettings:
    """What all commands have that use a finished run.

    Attributes:
        run: its folder, or one of its checkpoints.
        checkpoint: which of its checkpoints, where `run` is a folder.
    """

    run: str
    checkpoint: Annotated[str, one_of(*CHECKPOINTS)] = "best"


Settings = TypeVar("Settings", bound=UseSettings)


def read_use_line(arguments: Sequence[str], schema: type[Settings]) -> tuple[Settings, list[str]]:
    """Separate the settings of a command from those of the run.

    Args:
        arguments: the command line without the program, and without flags.
        schema: the command's settings.

    Returns:
        settings: of the command.
        overrides: of the run's settings.

    Raises:
        UsageError: an argument cannot be read, or a setting of the command is not valid.
    """
    known = [field.name for field in fields(schema)]
    sections = [field.name for field in fields(Config)]
    own, overrides = [], []
    for text in arguments:
        key = parse_override(text).key_or_group
        if key in known:
            own.append(text)
        elif "." in key or key in (*sections, "experiment"):
            overrides.append(text)
        else:
            raise UsageError(f"{key} is not a setting; {hint(key, [*known, *sections])}")
    composed = OmegaConf.create(read_values(own, known))
    check_references(composed)
    return read_section("", schema, composed), overrides


def engine_of(overrides: Sequence[str]) -> EngineConfig | ProcessesConfig:
    """Return the engine that the overrides choose, `threads` if none does.

    Raises:
        UsageError: there is no such engine, or a setting of it is not valid.
    """
    keys = {text: parse_override(text).key_or_group for text in overrides}
    own = [text for text, key in keys.items() if key.partition(".")[0] == "engine"]
    section = compose_config(["engine=threads", *own]).engine
    read: EngineConfig = read_section("engine", schema_of("engine", section), section)
    return read
