"""Lets what watches operations, such as a counter of FLOPs, see those of worker threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    _get_current_dispatch_mode_stack,
)

CHECKPOINTS = "torch.utils.checkpoint"
"""Where the modes of selective checkpoints are from. They know operations by their order, which
threads do not have, and B of a pipeline asks for them otherwise than they expect."""


def modes_of_this_thread() -> tuple[TorchDispatchMode, ...]:
    """Return the modes that see this thread's operations, but for checkpoints; outermost first."""
    modes = _get_current_dispatch_mode_stack()
    return tuple(mode for mode in modes if type(mode).__module__ != CHECKPOINTS)


@contextmanager
def apart_from_checkpoints() -> Iterator[None]:
    """Hide the operations of this thread from selective checkpoints."""
    modes = modes_of_this_thread()
    if len(modes) == len(_get_current_dispatch_mode_stack()):
        yield
        return
    with _disable_current_modes(), _entered(modes):
        yield


class Observed(TorchDispatchMode):
    """Shows the operations of the thread that enters it to the modes of another one.

    Modes are made for one thread, so they see one operation at a time.

    Args:
        modes: of the other thread, outermost first.
        turn: shared by all threads that show their operations to these modes.
    """

    def __init__(self, modes: Sequence[TorchDispatchMode], turn: RLock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self._modes = modes
        self._turn = turn

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation under the other thread's modes."""
        with self._turn, _entered(self._modes):
            return func(*args, **(kwargs or {}))


@contextmanager
def _entered(modes: Sequence[TorchDispatchMode]) -> Iterator[None]:
    """Put modes on this thread's stack, without what else they may do when they are entered."""
    if not modes:
        yield
        return
    first, *rest = modes
    TorchDispatchMode.__enter__(first)
    try:
        with _entered(rest):
            yield
    finally:
        TorchDispatchMode.__exit__(first, None, None, None)
