"""Makes modules private: only their owner sees that they are called."""

from __future__ import annotations

import weakref
from typing import Any

from torch import nn


def make_private(module: nn.Module) -> None:
    """Let no hook fire when a module is called.

    torch has hooks for the calls of all modules. One that consists of others, as the drop-in for
    `nn.GRU` does, would show these to them.
    """
    # torch calls this, which compiled modules have, instead of hooks and forward.
    module.__dict__["_compiled_call_impl"] = _Forward(module)


def is_private(module: nn.Module) -> bool:
    """Whether no hook fires when a module is called."""
    return isinstance(module._compiled_call_impl, _Forward)


class _Forward:
    """Calls the forward of a module, which it does not keep alive."""

    def __init__(self, module: nn.Module) -> None:
        self._module = weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self._module()
        assert module is not None
        return module.forward(*args, **kwargs)
