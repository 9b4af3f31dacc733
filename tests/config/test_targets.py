"""What a class takes is known from its signature and its annotations, as far as they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from omegaconf import OmegaConf

from gru_parallel.config.targets import check_arguments, find_target
from gru_parallel.errors import UsageError


class Sized(Protocol):
    def __len__(self) -> int: ...


class Mine:
    """Takes one of each kind."""

    def __init__(
        self,
        given: object,
        count: int = 1,
        rate: float = 1.0,
        switch: bool | None = None,
        word: Literal["min", "max"] = "min",
        path: str | Path = ".",
        pair: tuple[float, float] = (0.0, 0.0),
        sized: Sized | None = None,
        anything: Any = None,
        untyped=None,
    ) -> None: ...


def check(**arguments: Any) -> None:
    settings = OmegaConf.create({"_target_": "Mine", **arguments})
    check_arguments("mine", settings, Mine, n_given=1, words=["total"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 3),
        ("count", "total"),
        ("rate", 3),
        ("rate", float("inf")),
        ("switch", True),
        ("switch", None),
        ("word", "max"),
        ("path", "a/b"),
        ("pair", [1, 2.5]),
        ("sized", "text"),
        ("anything", 3),
        ("anything", {"a": 1}),
        ("untyped", "text"),
        ("path", "${oc.env:GRU_PARALLEL_NOT_SET}"),
    ],
)
def test_a_value_of_the_annotated_type_is_taken(name: str, value: object) -> None:
    check(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("count", 1.0, "a whole number"),
        ("count", True, "a whole number"),
        ("count", "3", "a whole number"),
        ("rate", "fast", "a number"),
        ("rate", float("nan"), "a finite one"),
        ("switch", "yes", "true or false or null"),
        ("switch", 1, "true or false or null"),
        ("word", "low", "min or max"),
        ("path", 5, "a text or a path"),
        ("path", None, "a text or a path"),
        ("pair", [1], "2 values in brackets"),
        ("pair", 1.0, "2 values in brackets"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: object, wanted: str) -> None:
    with pytest.raises(UsageError, match=rf"^mine\.{name}=.* {wanted}\.$"):
        check(**{name: value})


def test_an_unknown_argument_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"mine \(Mine\) has no argument cuont; .* mine\.count\?"):
        check(cuont=1)


def test_what_the_caller_gives_is_no_argument() -> None:
    with pytest.raises(UsageError, match="has no argument given"):
        check(given=1)


def test_a_needed_argument_that_is_missing_is_refused() -> None:
    settings = OmegaConf.create({"_target_": "Mine"})

    with pytest.raises(UsageError, match=r"needs given, .* \+mine\.given="):
        check_arguments("mine", settings, Mine)


def test_a_module_is_no_target() -> None:
    with pytest.raises(UsageError, match=r"mine\._target_=json is not a class but a module"):
        find_target("mine", OmegaConf.create({"_target_": "json"}))
