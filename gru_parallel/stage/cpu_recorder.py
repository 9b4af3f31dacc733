"""CPURecorder: does for operations on the CPU what a CUDA graph does for kernels.

It makes nothing faster. It is there so that all that lies around CUDA graphs can be tested without
a GPU, and so it is as strict as they are: what is recorded is not done, what it made is not to be
read before a replay, and what waits for a result or draws from a generator is refused.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# These give out memory, and no kernel runs.
_EMPTY = frozenset(
    getattr(torch.ops.aten, name)
    for name in ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
)
_WAITING = frozenset(
    getattr(torch.ops.aten, name) for name in ("_local_scalar_dense", "is_nonzero", "equal")
)
_DEPENDS_ON_DATA = frozenset({torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output})


class Call:
    """One operation, on the memory that it had when it was recorded.

    Args:
        func: the operation.
        args: of it.
        kwargs: of it.
        made: what it gave out.
    """

    def __init__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], made: Any) -> None:
        self._func = func
        self._args = tuple(map(_all_apart, args))
        self._kwargs = {name: _all_apart(each) for name, each in kwargs.items()}
        known = {_memory(t) for t in _tensors((*args, *kwargs.values()))}
        self.made = [None if _memory(t) in known else _apart(t) for t in _tensors(made)]

    def spoil(self) -> None:
        """Fill what it gave out with NaN."""
        for tensor in self.made:
            if tensor is not None and tensor.is_floating_point():
                tensor.fill_(torch.nan)

    def repeat(self) -> None:
        """Do it again, and put what it gives where the first result was."""
        if self._func.overloadpacket in _EMPTY:
            return
        if not any(t is not None for t in self.made) and not self._func._schema.is_mutable:
            # A view, which is there already.
            return
        found = self._func(*self._args, **self._kwargs)
        for room, new in zip(self.made, _tensors(found), strict=True):
            if room is not None:
                room.copy_(new)


class CPURecording:
    """Operations in their order; see `Recording`."""

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls

    def replay(self) -> None:
        """Do the operations again; see `Recording`."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            # As if what comes early in a graph used the memory of what comes later.
            for call in self._calls:
                call.spoil()
            for call in self._calls:
                call.repeat()


class CPURecorder:
    """Records operations on the CPU; see `Recorder`.

    Args:
        device: the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._made: list[weakref.ref[CPURecording]] = []

    def record(self, work: Callable[[], None]) -> CPURecording:
        """See `Recorder`."""
        if self._made and not any(made() is not None for made in self._made):
            raise RuntimeError("All recordings are gone, and with them the pool of the recorder.")
        recorded = _Recorded()
        try:
            # Random numbers are drawn by the replays alone.
            with torch.random.fork_rng(devices=()), recorded:
                work()
        finally:
            recorded.undo()
        recording = CPURecording(recorded.calls)
        self._made.append(weakref.ref(recording))
        return recording


class _Recorded(TorchDispatchMode):
    """Records the operations of the thread that enters it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types for it
        self.calls: list[Call] = []
        self._own: set[int] = set()
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch wraps each operation anew, to keep a compiler out that is not there.
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Do an operation and note it."""
        kwargs = kwargs or {}
        _refuse(func, (*args, *kwargs.values()))
        for tensor in _written(func, args, kwargs):
            if _memory(tensor) not in self._own:
                whole = tensor.untyped_storage()
                self._before.setdefault(whole._cdata, (whole, whole.clone()))
        made = func(*args, **kwargs)
        call = Call(func, args, kwargs, made)
        self._own |= {_memory(tensor) for tensor in call.made if tensor is not None}
        self.calls.append(call)
        return made

    def undo(self) -> None:
        """Put back what was written, and spoil what was made: nothing has been done yet."""
        with torch.no_grad():
            for whole, before in self._before.values():
                whole.copy_(before)
            for call in self.calls:
                call.spoil()


def _refuse(func: Any, arguments: tuple[Any, ...]) -> None:
    if func.overloadpacket in _WAITING or not _DEPENDS_ON_DATA.isdisjoint(func.tags):
        raise RuntimeError(f"{func} waits for a result, which cannot be recorded.")
    if any(isinstance(each, torch.Generator) for each in arguments):
        raise RuntimeError(f"{func} draws from a generator, whose state would not be recorded.")


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """The tensors that an operation writes to."""
    if func.overloadpacket is torch.ops.aten.native_batch_norm:
        # Its schema does not say that it writes the running statistics.
        yield from _tensors(args[3:5])
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[index] if index < len(args) else kwargs.get(argument.name)
            yield from _tensors(given)


def _tensors(values: Any) -> list[Tensor]:
    """The tensors among what an operation takes or gives: values, and lists of them."""
    if isinstance(values, Tensor):
        return [values]
    if not isinstance(values, list | tuple):
        return []
    return [tensor for each in values for tensor in _tensors(each)]


def _all_apart(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _apart(value)
    return [*map(_all_apart, value)] if isinstance(value, list | tuple) else value


def _apart(tensor: Tensor) -> Tensor:
    """The same memory, without history and with versions of its own, as kernels see it."""
    return tensor.data


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
