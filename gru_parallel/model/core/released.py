"""Functions of many operators, run without the lock of the interpreter."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import update_wrapper
from typing import Generic, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


class Released(Generic[P, R]):
    """A function that releases the lock of Python's interpreter once, and not at every operator.

    Between two operators a thread waits until no other runs Python. With one worker thread per
    stage that would cost more than the operators of small layers themselves. So the function is
    compiled by TorchScript, when it is defined. Where that is not possible, it runs as it is; so it
    does on GPUs, where operators are only queued, and TorchScript would fuse some.

    Args:
        function: of a tensor, and others and numbers, in the Python that TorchScript knows.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        # Not at the first call, which may come in two threads at once: the filters of warnings
        # belong to the process, and one thread would put back those that the other has set.
        self._compiled = _compiled(function)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function."""
        is_on_cpu = cast(Tensor, args[0]).is_cpu
        return (self._compiled if is_on_cpu else self._function)(*args, **kwargs)


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    with warnings.catch_warnings():
        # TorchScript is to go one day; that is no concern of the caller.
        warnings.simplefilter("ignore")
        try:
            return cast("Callable[P, R]", torch.jit.script(function))
        # Without its source it cannot be compiled either.
        except (AttributeError, OSError, RuntimeError):
            return function


def released(function: Callable[P, R]) -> Released[P, R]:
    """Make a function `Released`."""
    return Released(function)
