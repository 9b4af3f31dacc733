"""Parts of the user's own: a setting names one by where it is, package.module.name."""

from __future__ import annotations

from functools import cache
from pkgutil import resolve_name
from typing import Any, TypeGuard

from gru_parallel.choices import CORES, HEAD_TASKS
from gru_parallel.errors import UsageError

_NEEDED = {
    "schedule.name": ("a function", ("__call__",)),
    "model.head": ("a class of heads", ("for_forecast", "every_step", "forward")),
    "model.loss": ("a SumLoss", ("total", "count")),
    "model.core": ("an object of a class of cores", ("forward", "gates")),
    "data.source": ("a function", ("__call__",)),
}
"""By setting, in words what it may name, and what that has."""


def is_own(name: object) -> TypeGuard[str]:
    """Whether a name is a full one, package.module.name, which no part of this library has."""
    return isinstance(name, str) and "." in name


@cache
def own(setting: str, name: str) -> Any:
    """Import a part of the user's own.

    Args:
        setting: that names it: "schedule.name", "model.head", "model.loss", "model.core" or
            "data.source".
        name: the full one.

    Raises:
        UsageError: it cannot be imported, or is not what the setting needs.
    """
    try:
        found = resolve_name(name)
    except Exception as error:  # a module may raise anything when it is imported
        raise UsageError(
            f"{setting}={name} cannot be imported ({type(error).__name__}: {error}); give a full"
            " name, package.module.name, that Python finds from here: install the package, or set"
            " PYTHONPATH to the folder that it is in."
        ) from error
    what, needed = _NEEDED[setting]
    missing = [attribute for attribute in needed if not hasattr(found, attribute)]
    if missing or (isinstance(found, type) != (setting == "model.head")):
        without = f" without {', '.join(missing)}" if missing else ""
        raise UsageError(
            f"{setting}={name} is a {type(found).__name__}{without}; name {what}"
            " (docs/extending.md)."
        )
    return found


def check_core(name: str) -> None:
    """Check that there is a core of this name; one of the user's own is imported when it runs.

    Raises:
        UsageError: there is none.
    """
    if name not in CORES and not is_own(name):
        raise UsageError(
            f"model.core={name} is not a valid core; use one of {', '.join(CORES)}, or"
            " package.module.name, one of your own."
        )


def counted_as(core: str) -> str:
    """Return the core whose times and memory a plan takes for a core: `fused` for one's own."""
    return "fused" if is_own(core) else core


def head_task(head: str) -> str:
    """Return what a head predicts, `WindowShape.task`, by its name."""
    if not is_own(head):
        return HEAD_TASKS[head]
    return "every_step" if own("model.head", head).every_step else "window"
