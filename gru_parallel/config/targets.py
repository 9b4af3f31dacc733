"""Finds the class or function that a setting _target_ names, and its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from pkgutil import resolve_name
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf

from gru_parallel.choices import meant
from gru_parallel.config.types import fits, in_words
from gru_parallel.errors import UsageError
from gru_parallel.rules import as_written

_NOT_ARGUMENTS = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")


def find_target(name: str, settings: Any) -> Any:
    """Import what the settings name as their `_target_`.

    Not by hydra.utils, which prints what it cannot import.

    Args:
        name: of the settings, such as "optimizer".
        settings: `_target_` and arguments.

    Raises:
        UsageError: there is no `_target_`, or it cannot be imported.
    """
    target = settings.get("_target_") if isinstance(settings, DictConfig) else None
    if target is None:
        raise UsageError(
            f"{name}={as_written(settings)} names no class; give it a _target_, as in"
            f" {name}._target_=package.module.Class."
        )
    try:
        found = resolve_name(str(target))
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{name}._target_={target} is not a class that can be imported ({error}); give its full"
            f" name, as in {name}._target_=package.module.Class."
        ) from error
    if not callable(found):
        raise UsageError(
            f"{name}._target_={target} is not a class but a {type(found).__name__}; give the full"
            f" name of a class, as in {name}._target_=package.module.Class."
        )
    return found


def arguments_of(make: Callable[..., Any], n_given: int = 0) -> list[Parameter] | None:
    """Return the names of the arguments of a class or function; None if they are not known.

    Args:
        make: the class or function.
        n_given: of its first arguments, those that the settings do not give.
    """
    try:
        parameters = list(signature(make).parameters.values())[n_given:]
    except (TypeError, ValueError):
        return None
    kinds = {parameter.kind for parameter in parameters}
    if Parameter.VAR_KEYWORD in kinds:
        return None
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return [parameter for parameter in parameters if parameter.kind in by_name]


def check_arguments(
    name: str,
    settings: DictConfig,
    make: Callable[..., Any],
    *,
    n_given: int = 0,
    others: Sequence[str] = (),
    words: Sequence[str] = (),
    finite: bool = False,
) -> None:
    """Check that a class or a function takes the arguments that the settings give it.

    Args:
        name: of the settings, such as "optimizer".
        settings: `_target_` and arguments.
        make: what `_target_` names.
        n_given: of its first arguments, those that the settings do not give.
        others: settings that are not arguments.
        words: values that stand for something else.
        finite: whether no number may be infinite.

    Raises:
        UsageError: it has no such argument, needs one that is not given, or one of another type.
    """
    written = OmegaConf.to_container(settings, resolve=False)
    assert isinstance(written, dict)
    given = {str(key): value for key, value in written.items()}
    for key in (*_NOT_ARGUMENTS, *others):
        given.pop(key, None)
    parameters = arguments_of(make, n_given)
    if parameters is not None and "_args_" not in settings:
        check_known(name, settings, [parameter.name for parameter in parameters], others)
        _check_needed(name, settings, parameters)
    hints = _hints(make)
    for key, value in given.items():
        if OmegaConf.is_interpolation(settings, key):
            if not _is_known(settings, key):
                continue
            value = settings[key]
        if not (isinstance(value, str) and value in words):
            _check_finite(f"{name}.{key}", value, finite)
            _check_type(f"{name}.{key}", value, hints.get(key, Any))


def check_known(
    name: str, settings: DictConfig, known: Sequence[str], others: Sequence[str] = ()
) -> None:
    """Check the names of arguments.

    Args:
        name: of the settings, such as "optimizer".
        settings: `_target_` and arguments.
        known: the arguments that there are.
        others: settings that are not arguments.

    Raises:
        UsageError: the settings give another.
    """
    for key in map(str, settings):
        if key not in (*_NOT_ARGUMENTS, *others, *known):
            near = meant(key, known)
            remedy = (
                f"did you mean {name}.{near}?"
                if near
                else f"leave it out, a default with ~{name}.{key}, and use arguments that the class"
                f" takes: {', '.join(known) or 'none'}."
            )
            raise UsageError(f"{name} ({settings._target_}) has no argument {key}; {remedy}")


def _check_needed(name: str, settings: DictConfig, parameters: Sequence[Parameter]) -> None:
    needed = (p.name for p in parameters if p.default is Parameter.empty)
    missing = [key for key in needed if key not in settings]
    if missing:
        raise UsageError(
            f"{name} ({settings._target_}) needs {', '.join(missing)}, without a default;"
            f" give it, as in +{name}.{missing[0]}=..."
        )


def _is_known(settings: DictConfig, key: str) -> bool:
    """Whether a reference leads to a value, before there is a folder of the run to refer to."""
    try:
        _ = settings[key]
    except Exception:  # noqa: BLE001  # a resolver may raise whatever it likes
        return False
    return True


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(make.__init__ if isinstance(make, type) else make)  # type: ignore[misc]  # of the class itself
    except Exception:  # noqa: BLE001  # annotations may name what only a type checker imports
        return {}


def _check_finite(setting: str, value: Any, finite: bool) -> None:
    if isinstance(value, float) and (math.isnan(value) or (finite and math.isinf(value))):
        raise UsageError(f"{setting}={value} is not a number to compute with; use a finite one.")


def _check_type(setting: str, value: Any, hint: Any) -> None:
    if not fits(value, hint):
        raise UsageError(
            f"{setting}={as_written(value)} has the wrong type; give {in_words(hint)}."
        )
