"""Rules that the value of a setting has to keep to, and the types that have them in the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from gru_parallel.choices import AUTO, POLICIES
from gru_parallel.errors import UsageError
from gru_parallel.own_names import is_own


@dataclass(frozen=True)
class Rule:
    """Something that holds for every value of a setting but null, if that is one of its types.

    Attributes:
        otherwise: the end of a sentence that begins with a value for which it does not hold.
        holds: whether it does, for a value of the setting's type.
    """

    otherwise: str
    holds: Callable[[Any], bool]


def one_of(*choices: Any) -> Rule:
    """Return the rule that a value is one of several."""
    words = ", ".join(str(as_written(choice)) for choice in choices)
    return Rule(f"is not a valid choice; use one of {words}.", lambda value: value in choices)


def one_of_or_own(*choices: Any) -> Rule:
    """Return the rule that a value is one of several, or the full name of one's own."""
    rule = one_of(*choices)
    remedy = f"{rule.otherwise.removesuffix('.')}, or package.module.name, one of your own."
    return Rule(remedy, lambda value: is_own(value) or rule.holds(value))


def each_of(*choices: Any) -> Rule:
    """Return the rule that a list has some of several values, each once."""
    words = ", ".join(str(as_written(choice)) for choice in choices)
    return Rule(
        f"is not valid; use some of {words}, each once.",
        lambda values: set(values) <= set(choices) and len(set(values)) == len(values) > 0,
    )


COLUMNS = Rule("names no column; name at least one, or use null for none.", lambda v: len(v) > 0)

OWN = Rule("is not a full name; use package.module.name, one of your own.", is_own)


def check_rules(prefix: str, section: Any) -> None:
    """Check every value of a section.

    Args:
        prefix: of the settings' names, such as "data.".
        section: an instance of a schema, whose values have the right types.

    Raises:
        UsageError: a rule does not hold; names the first of them.
    """
    for name, hint in get_type_hints(type(section), include_extras=True).items():
        value = getattr(section, name)
        for rule in _rules(hint):
            holds = NoneType in get_args(hint) if value is None else rule.holds(value)
            if not holds:
                raise UsageError(f"{prefix}{setting_of(name)}={as_written(value)} {rule.otherwise}")


def setting_of(field: str) -> str:
    """Return the name of a setting by its field's, which avoids the words of Python: `async_`."""
    return field.removesuffix("_")


def _rules(hint: Any) -> Iterator[Rule]:
    """Yield the rules at a type, those at the parts of a union included."""
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
    else:
        for part in get_args(hint):
            yield from _rules(part)


def as_written(value: Any) -> Any:
    """Return a setting's value as one writes it on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(str(as_written(each)) for each in value)}]"
    return "null" if value is None else value


def one_per_block(value: Any) -> list[Any]:
    """Return what is given for each block, or once for all of them."""
    return value if isinstance(value, list) else [value]


def _may_be_time(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else ()
    is_negative = any(isinstance(part, int | float) and part < 0 for part in parts)
    return isinstance(value, str | dict) and not is_negative


QUANTILES = Rule(
    "is not valid; use levels above 0 and below 1, ascending, as in [0.1,0.5,0.9].",
    lambda v: len(v) > 0 and all(0 < each < 1 for each in v) and all(a < b for a, b in pairwise(v)),
)


def check_quantiles(levels: Sequence[float], *, needs_median: bool = False) -> None:
    """Check the levels of quantiles.

    Args:
        levels: to check.
        needs_median: whether 0.5 has to be one of them.

    Raises:
        UsageError: they cannot be levels, or lack the median.
    """
    if not QUANTILES.holds(levels):
        raise UsageError(f"model.quantiles={as_written(levels)} {QUANTILES.otherwise}")
    if needs_median and 0.5 not in levels:
        raise UsageError(
            f"model.quantiles={as_written(levels)} lacks the median, 0.5, which model.loss=quantile"
            f" takes for the point forecast; use model.quantiles="
            f"{as_written(sorted([*levels, 0.5]))}."
        )


AT_LEAST_0 = Rule("is out of range; use 0 or more.", lambda v: v >= 0)
ABOVE_0 = Rule("is not positive; use a number above 0.", lambda v: v > 0)
MOST_SECONDS = 1e6
"""Eleven days and a half; torch and Python count longer waits wrongly, or refuse them."""
SECONDS = Rule(
    f"is out of range; use seconds above 0, at most {MOST_SECONDS:.0f}.",
    lambda v: 0 < v <= MOST_SECONDS,
)
AT_LEAST_1 = Rule("is not positive; use a whole number of at least 1.", lambda v: v >= 1)
SEED = Rule(
    f"is not a valid seed; use a whole number from 0 to {2**32 - 1}.", lambda v: 0 <= v < 2**32
)
_SHARE = Rule(
    "is not a valid share; use one from 0.0 to 1.0, or a whole number of batches.",
    lambda v: not isinstance(v, float) or v <= 1,
)
_TIME = "days, hours, minutes and seconds, 00:02:30:00 or {hours: 2, minutes: 30}"


def at_most(most: int) -> Rule:
    """Return the rule that a number has a bound: beyond, memory or time would not do."""
    return Rule(f"is out of range; use at most {most}.", lambda v: v <= most)


Count = Annotated[int, AT_LEAST_1]
CountOrAuto = Annotated[
    Any,
    Rule(
        f"is not a count; use a whole number of at least 1, or {AUTO}.",
        lambda v: v == AUTO or (isinstance(v, int) and not isinstance(v, bool) and v >= 1),
    ),
]
PartOfBatches = Annotated[int | float, AT_LEAST_0, _SHARE]
RunLength = Annotated[
    int, Rule("is not a length; use at least 1, or -1 for no limit.", lambda v: v == -1 or v >= 1)
]
Time = Annotated[Any, Rule(f"is not a time; use {_TIME}.", _may_be_time)]
Interval = Annotated[
    Any,
    Rule(
        f"has the wrong type; give a share of an epoch, a number of batches, or {_TIME}.",
        lambda v: not isinstance(v, bool | list),
    ),
    Rule("is not positive; use a number above 0.", lambda v: isinstance(v, str | dict) or v > 0),
    _SHARE,
]
Arguments = Annotated[
    Any,
    Rule(
        "has the wrong type; give names and values, {name: value}.",
        lambda v: isinstance(v, dict) and all(isinstance(each, str) for each in v),
    ),
]
Directions = Annotated[
    Any,
    Rule(
        "has the wrong type; give true or false, or one of them for each block in brackets.",
        lambda v: all(isinstance(each, bool) for each in one_per_block(v)),
    ),
]
Policies = Annotated[
    Any,
    Rule(
        f"is not valid; use one of {', '.join(POLICIES)}, or one for each block in brackets.",
        lambda v: all(each in POLICIES for each in one_per_block(v)),
    ),
    Rule(
        "needs windows that bring an h_0 of their own, which no file does; use another policy, or"
        " train from Python with batches that have an 'h_0'.",
        lambda v: "given" not in one_per_block(v),
    ),
]
