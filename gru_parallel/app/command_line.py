"""Splits a command line into flags, which Hydra knows, and overrides."""

from __future__ import annotations

import re
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from gru_parallel.config.overrides import search_in, setting_called
from gru_parallel.errors import UsageError

_ONE_CONFIG = ("config_name", "config_path", "experimental_rerun")
_SWITCHES = ("help", "hydra_help", "resolve", "run", "multirun", "shell_completion")
_WITH_VALUE = ("cfg", "package", "info")


@dataclass(frozen=True)
class CommandLine:
    """A command line that Hydra can read.

    Attributes:
        flags: those given, by their long names.
        overrides: the settings given, in their order.
    """

    flags: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def is_sweep(self) -> bool:
        """Whether the settings are those of many runs."""
        return "--multirun" in self.flags

    @property
    def runs(self) -> bool:
        """Whether something is run, and not only shown."""
        return set(self.flags) <= {"--run", "--multirun"}

    @property
    def arguments(self) -> list[str]:
        """All of it, flags first: Hydra does not understand them between overrides."""
        return [*self.flags, *self.overrides]


def read_command_line(arguments: Sequence[str]) -> CommandLine:
    """Separate flags from overrides.

    Args:
        arguments: the command line without the program.

    Raises:
        UsageError: there is no such flag, or it would need another config.
    """
    parser = get_args_parser()
    parser.exit_on_error = False
    parser.error = _refuse  # type: ignore[method-assign]  # argparse would print its usage, and exit
    try:
        known, unknown = parser.parse_known_intermixed_args(list(arguments))
    except ArgumentError as error:
        raise UsageError(f"{error.argument_name}: {error.message}.") from error
    flags = [argument for argument in unknown if argument.startswith("-")]
    if flags:
        raise UsageError(_no_flag(flags[0], arguments, setting_called))
    for name in _ONE_CONFIG:
        if getattr(known, name) is not None:
            raise UsageError(
                f"{_written(name)} {getattr(known, name)} would run another config, and"
                " gru_parallel has its own; choose among its options, as in data=csv or"
                " experiment=etth1, and set the rest with setting=value."
            )
    overrides = [*known.overrides, *unknown]
    if known.config_dir is not None:
        overrides.insert(0, _search_in(Path(known.config_dir)))
    given = [_written(name) for name in _SWITCHES if getattr(known, name)]
    for name in _WITH_VALUE:
        if getattr(known, name) is not None:
            given += [_written(name), getattr(known, name)]
    return CommandLine(tuple(given), tuple(overrides))


def with_home(arguments: Sequence[str]) -> list[str]:
    """Replace a ~ at the beginning of a value by the home folder.

    A shell does so only at the beginning of a word, and Hydra does not.
    """
    home = re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", str(Path.home()))
    return [re.sub(r"(?<=[=,\[])~(?=[/,\]]|$)", lambda _: home, text) for text in arguments]


def refuse_flags(arguments: Sequence[str], find: Callable[[str], str | None]) -> None:
    """Refuse all flags, for a program that has none but --help.

    Args:
        arguments: the command line without the program.
        find: from a name to the full name of the setting that may be meant.

    Raises:
        UsageError: there is one.
    """
    for flag in arguments:
        if not flag.startswith("-"):
            continue
        parser = get_args_parser()
        if flag in ("-cd", "--config-dir"):
            folder = _value_after(flag, arguments) or "folder"
            raise UsageError(
                f"{flag} is not a flag of this program; write hydra.searchpath=[{folder}]."
            )
        if flag in parser._option_string_actions:
            raise UsageError(
                f"{flag} is a flag of gru_parallel.train alone; this program prints one thing, and"
                " has no flag but --help."
            )
        raise UsageError(_no_flag(flag, arguments, find))


def _no_flag(flag: str, arguments: Sequence[str], find: Callable[[str], str | None]) -> str:
    """Tell what to write instead of a flag that does not exist."""
    name, _, value = flag.lstrip("-").partition("=")
    found = find(name)
    if found is None:
        return (
            f"{flag} is not a flag; see --help, and give settings without dashes, as in"
            " setting=value."
        )
    value = value or _value_after(flag, arguments) or "..."
    return f"{flag} is not a flag; settings are given without dashes: {found}={value}"


def _refuse(message: str) -> NoReturn:
    raise UsageError(f"{message}; see --help.")


def _written(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _value_after(flag: str, arguments: Sequence[str]) -> str | None:
    after = arguments[list(arguments).index(flag) + 1 :][:1]
    return None if not after or "=" in after[0] or after[0].startswith("-") else after[0]


def _search_in(folder: Path) -> str:
    if not folder.is_dir():
        raise UsageError(
            f"--config-dir {folder} is not a folder; give one with configs in folders of their"
            " groups, such as experiment/mine.yaml."
        )
    return search_in(folder)
