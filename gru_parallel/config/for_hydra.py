"""Overrides in the form in which Hydra reads them as they were meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

_GIVES_NAMES = re.compile(
    r"\+{0,2}data\.(columns|future|series_column|static|target|time_column|weight)="
)
# Hydra reads 1_1 as 11, 1e3 as 1000.0, and True as a bool; within a longer name, PM 2.5, as text.
_NO_TEXT = re.compile(
    r"(?<=[=\[,])( *)([+-]?\.?\d[\w.+-]*|[+-]?(?:inf|nan)|true|false)(?= *(?:[,\]]|$))", re.I
)
_GIVES_DEVICE_MAP = re.compile(r"\+{0,2}placement\.device_map=")
_NO_DEVICE_MAP = "++placement.device_map=null"


def for_hydra(overrides: Sequence[str]) -> list[str]:
    """Quote names of columns, and have each device map replace the one before.

    Hydra reads a name that looks like a number or a switch as one. It merges a device map into the
    one before: ranges of blocks not at all into a list, and into other ranges only if they are the
    same.

    Args:
        overrides: as on the command line, flags included.

    Returns:
        The overrides, in which a name is the text that was written, unless it has quotes of its
        own; and before each that gives a device map one that takes the old one away.
    """
    found = []
    for text in overrides:
        if _GIVES_DEVICE_MAP.match(text):
            found.append(_NO_DEVICE_MAP)
        is_bare = _GIVES_NAMES.match(text) and not {"'", '"'} & set(text)
        found.append(_NO_TEXT.sub(r"\1'\2'", text) if is_bare else text)
    return found


def without_added(overrides: Sequence[str]) -> list[str]:
    """Leave out what `for_hydra` has added to the overrides."""
    return [
        text
        for text, after in zip(overrides, [*overrides[1:], ""], strict=True)
        if text != _NO_DEVICE_MAP or not _GIVES_DEVICE_MAP.match(after)
    ]
