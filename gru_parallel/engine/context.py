"""What the caller's thread brings along, and workers take over: autocast, streams, watching modes.

All of it is thread-local in torch. What cannot be taken over is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    _get_current_dispatch_mode_stack,
)

REMEDY = "its operations run in other threads; use the nn.GRU of GRU.to_torch()."

CHECKPOINTS = "torch.utils.checkpoint"
"""Where the modes of selective checkpoints are from. They know operations by their order, which
threads do not have, and B of a pipeline asks for them otherwise than they expect."""


@dataclass(frozen=True)
class CallerContext:
    """The caller's autocast, inference mode, current streams, and what watches its operations.

    Attributes:
        autocast: for each kind of device, the type that autocast asks for; None where it is off.
        cache: whether autocast keeps its casts.
        inference: whether inference mode is on.
        streams: the current stream of each accelerator in use.
        modes: the dispatch modes that see its operations.
    """

    autocast: dict[str, torch.dtype | None]
    cache: bool
    inference: bool
    streams: dict[torch.device, torch.Stream]
    modes: tuple[TorchDispatchMode, ...] = ()
    _turn: RLock = field(default_factory=RLock)

    @classmethod
    def capture(
        cls, devices: Iterable[torch.device], tensors: Iterable[Tensor | None] = ()
    ) -> CallerContext:
        """Record the state of the calling thread, as far as `devices` and `tensors` need it.

        Args:
            devices: that the pipeline computes on.
            tensors: of the batch, wherever they are.
        """
        computing = set(devices)
        devices = {*computing, *(t.device for t in tensors if t is not None and not t.is_meta)}
        return cls(
            autocast=autocast_of([torch.device("cpu")]) | autocast_of(computing),
            cache=torch.is_autocast_cache_enabled(),
            inference=torch.is_inference_mode_enabled(),
            streams={
                device: torch.accelerator.current_stream(device)
                for device in devices
                if device.type != "cpu"
            },
            modes=modes_of_this_thread(),
        )

    def take_streams(self) -> None:
        """Let the calling thread, a worker, queue on these streams where it has none of its own.

        What it reads of a batch on another stage's device was queued there.
        """
        for stream in self.streams.values():
            torch.accelerator.set_stream(stream)

    def observed(self) -> AbstractContextManager[object]:
        """Let what watches the caller see the operations of the calling thread, a worker."""
        return Observed(self.modes, self._turn) if self.modes else nullcontext()

    @contextmanager
    def taken_over(self, *, gradients: bool) -> Iterator[None]:
        """Put the calling thread into this state; `gradients` says whether autograd records."""
        with ExitStack() as stack:
            for kind, dtype in self.autocast.items():
                if dtype is not None:
                    cast = torch.autocast(kind, dtype=dtype, cache_enabled=self.cache)
                    stack.enter_context(cast)
            # B runs in the worker itself. In autograd's one thread for a GPU it would wait for ever
            # where that thread, in the backward of a checkpoint, has called this one.
            stack.enter_context(torch.autograd.set_multithreading_enabled(False))
            if self.inference and not gradients:
                stack.enter_context(torch.inference_mode())
            stack.enter_context(torch.set_grad_enabled(gradients))
            yield


def autocast_of(devices: Iterable[torch.device]) -> dict[str, torch.dtype | None]:
    """Return what autocast asks for in a pipeline over some devices.

    Where it is on for one kind of device, such as that of the last stage, which is the only one
    that Lightning sees, all kinds follow: stages compute in the type of what they hand over.

    Args:
        devices: of the pipeline.

    Returns:
        For each kind of device, the type; None where autocast is off.
    """
    found = {
        kind: torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        for kind in sorted({device.type for device in devices})
    }
    some = next((dtype for dtype in found.values() if dtype is not None), None)
    return {kind: some if dtype is None else dtype for kind, dtype in found.items()}


def refuse_what_looks_inside(
    tensors: Iterable[Tensor], what: str = "gru_parallel.GRU", remedy: str = REMEDY
) -> None:
    """Refuse to run where each operation is to be recorded or transformed.

    Without this the result would be wrong, or an error would speak of something else.

    Args:
        tensors: what goes in.
        what: is run.
        remedy: what to do instead.

    Raises:
        RuntimeError: torch is tracing or exporting, or transforms functions (vmap, grad, jvp), or
            differentiates forward, or allows tensors that are kept for backward to change.
    """
    if torch._C._is_tracing() or torch.compiler.is_exporting():
        raise RuntimeError(f"{what} can be neither traced nor exported: {remedy}")
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            f"{what} knows nothing of torch.func's vmap, grad, vjp, jvp and what is made of them:"
            f" {remedy}"
        )
    is_dual = forward_ad._current_level >= 0
    if is_dual and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        raise RuntimeError(f"{what} cannot be differentiated forward: {remedy}")
    if torch.autograd.graph._allow_mutation_on_saved_tensors_enabled:
        raise RuntimeError(
            f"{what} cannot run under allow_mutation_on_saved_tensors(), since it keeps slices of"
            f" what goes in, which would change with it: {remedy}"
        )


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
