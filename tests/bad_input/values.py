"""Values for settings, as they are written on a command line, and whether a schema allows them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from gru_parallel.rules import Rule


@dataclass(frozen=True)
class Value:
    """A value of a setting.

    Attributes:
        text: as it is written.
        read: what Hydra makes of it.
    """

    text: str
    read: Any


POOL = (
    Value("much", "much"),
    Value("", ""),
    Value("true", True),
    Value("false", False),
    Value("null", None),
    Value("0", 0),
    Value("1", 1),
    Value("-1", -1),
    Value("-7", -7),
    Value("-9223372036854775809", -(2**63) - 1),
    Value("2.5", 2.5),
    Value("-0.5", -0.5),
    Value("1e400", math.inf),
    Value("nan", math.nan),
    Value("inf", math.inf),
    Value("-inf", -math.inf),
    Value("[]", []),
    Value("[1]", [1]),
    Value("[-1,much]", [-1, "much"]),
    Value("[nan,nan,nan]", [math.nan] * 3),
    Value("[[1]]", [[1]]),
    Value("[null]", [None]),
    Value("[{a:1}]", [{"a": 1}]),
    Value("{}", {}),
    Value("{much:1}", {"much": 1}),
    Value("{1:{2:3}}", {1: {2: 3}}),
)
"""Values of each kind, from the ends of its range and from beyond them."""


def breaks(hint: Any, value: Any, default: Any) -> bool:
    """Whether a value is wrong by the schema: of another type, or against a rule.

    Args:
        hint: the annotated type of the setting.
        value: to be judged.
        default: of the setting. Where any type would do, only one that is null may be null.
    """
    if value is None and Any in _kinds(hint):
        return default is not None
    if not _fits(value, hint):
        return True
    if value is None:
        return False
    return not all(rule.holds(_converted(value, hint)) for rule in _rules(hint))


def misspelt(word: str) -> str:
    """Return a word with its second letter gone, or doubled where it is too short for that."""
    return word[0] + word[2:] if len(word) > 3 else word + word[-1]


def choices_of(hint: Any) -> list[str]:
    """Return wrong spellings of the choices of a setting; none where it chooses from no words."""
    rules = list(_rules(hint))
    words = [word for word in _quoted_words(rules) if all(rule.holds(word) for rule in rules)]
    spellings = [spelling for word in words for spelling in (misspelt(word), word.upper() + "S")]
    return [each for each in spellings if not all(rule.holds(each) for rule in rules)]


def _quoted_words(rules: list[Rule]) -> Iterator[str]:
    """Yield the words that the messages of the rules offer."""
    for rule in rules:
        _, _, offered = rule.otherwise.partition("use one of ")
        yield from (word.strip(" .") for word in offered.split(",") if offered)


def _rules(hint: Any) -> Iterator[Rule]:
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
        yield from _rules(hint.__origin__)
    elif get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            yield from _rules(part)


def _kinds(hint: Any) -> tuple[Any, ...]:
    """Return the types that a setting may have, without their rules."""
    if get_origin(hint) is Annotated:
        return _kinds(hint.__origin__)
    if get_origin(hint) in (Union, UnionType):
        return tuple(kind for part in get_args(hint) for kind in _kinds(part))
    return (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_is(value, kind) for kind in _kinds(hint))


def _is(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if kind is NoneType:
        return value is None
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(each, get_args(kind)[0]) for each in value)
    if kind is str:
        # A number that is written where a text is wanted is the text.
        return isinstance(value, str | int | float)
    if kind is bool:
        return isinstance(value, int) and value in (0, 1)
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _converted(value: Any, hint: Any) -> Any:
    """Return the value as the schema reads it."""
    return str(value) if _kinds(hint)[0] is str and not isinstance(value, str) else value
