"""Makes modules private: their calls are nobody's business but their owner's."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

from torch import nn

M = TypeVar("M", bound=nn.Module)


def make_private(module: nn.Module) -> None:
    """Let no hook fire where a module, or a module in it, is called.

    torch has hooks for the calls of all modules there are. What makes one module of several, as the
    drop-in for `nn.GRU` does, would show them its inner ones.
    """
    for each in list(module.modules()):
        each.__class__ = private(type(each))


def private(kind: type[M]) -> type[M]:
    """Return a class like `kind`, whose modules fire no hook where they are called."""
    return cast(type[M], _private(kind))  # type: ignore[arg-type]  # a class has a hash


@cache
def _private(kind: type[nn.Module]) -> type[nn.Module]:
    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    return type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__})
