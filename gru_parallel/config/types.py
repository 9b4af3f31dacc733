"""The types of settings: what fits one, and how to describe one in words."""

from __future__ import annotations

from enum import Enum
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    NoneType: "null",
}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "names"}


def in_words(hint: Any) -> str:
    """Describe in words what an annotated type takes."""
    hints = _alternatives(hint)
    words: list[str] = []
    for each in hints:
        if get_origin(each) is Literal:
            words += map(str, get_args(each))
        elif get_origin(each) in (list, tuple):
            words.append(f"{_several(get_args(each))} in brackets")
        elif each in _WORDS and not (each is int and float in hints):
            words.append(_WORDS[each])
    return " or ".join(words) or "what the class takes"


def _several(kinds: tuple[Any, ...]) -> str:
    """Describe a list or a tuple of these kinds, with its length if that is fixed."""
    if len(kinds) == 1:
        return _PLURALS.get(kinds[0], "values")
    return "values" if ... in kinds or not kinds else f"{len(kinds)} values"


def _fits_sequence(value: Any, hint: Any) -> bool:
    if isinstance(value, bool | int | float | str | NoneType):
        return False
    kinds = get_args(hint)
    if get_origin(hint) is list or not kinds or ... in kinds:
        return True
    return len(value) == len(kinds) and all(map(fits, value, kinds))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value may be of an annotated type; if that is not known, it may."""
    if get_origin(hint) in (Union, UnionType):
        return any(fits(value, each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint in (Any, object):
        return True
    if hint is None or hint is NoneType:
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        allowed = int if hint is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if get_origin(hint) in (list, tuple):
        return _fits_sequence(value, hint)
    if isinstance(hint, type) and issubclass(hint, PurePath) and isinstance(value, list):
        return False
    if isinstance(hint, type) and isinstance(value, bool | int | float | str | NoneType):
        if issubclass(hint, PurePath):
            return isinstance(value, str)
        # Not known: a value may stand for one of these, or be one by its methods.
        is_loose = issubclass(hint, Enum) or getattr(hint, "_is_protocol", False)
        return is_loose or hint in type(value).__mro__
    return True
