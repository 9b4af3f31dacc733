"""What is thread-local in torch and must be the same in the workers as in the caller's thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import RLock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gru_parallel.engine.observed import Observed, modes_of_this_thread


@dataclass(frozen=True)
class CallerContext:
    """The caller's autocast, inference mode, current streams, and what watches its operations.

    Attributes:
        autocast: for each device type, whether autocast is on and to which type.
        cache: whether autocast keeps its casts.
        inference: whether inference mode is on.
        streams: the current stream of each accelerator in use.
        modes: the dispatch modes that see its operations.
    """

    autocast: dict[str, tuple[bool, torch.dtype]]
    cache: bool
    inference: bool
    streams: dict[torch.device, torch.Stream]
    modes: tuple[TorchDispatchMode, ...] = ()
    _turn: RLock = field(default_factory=RLock)

    @classmethod
    def capture(cls, devices: Iterable[torch.device]) -> CallerContext:
        """Take down the state of the calling thread, as far as `devices` need it."""
        devices = set(devices)
        types = {"cpu"} | {device.type for device in devices}
        return cls(
            autocast={
                kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
                for kind in sorted(types)
            },
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
            for kind, (enabled, dtype) in self.autocast.items():
                if enabled:
                    cast = torch.autocast(kind, dtype=dtype, cache_enabled=self.cache)
                    stack.enter_context(cast)
            # B runs in the worker itself. In autograd's one thread for a GPU it would wait for ever
            # where that thread, in the backward of a checkpoint, has called this one.
            stack.enter_context(torch.autograd.set_multithreading_enabled(False))
            if self.inference and not gradients:
                stack.enter_context(torch.inference_mode())
            stack.enter_context(torch.set_grad_enabled(gradients))
            yield
