"""Outbox: keeps tensors until they are sent, without blocking the sender."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from queue import SimpleQueue
from threading import Thread

import torch
import torch.distributed as dist
from torch import Tensor

Sending = tuple[dist.Work, Tensor]


class Outbox:
    """Holds tensors until their sends are done, for which its thread waits.

    Args:
        device: of the tensors; None for the CPU.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._stream = None if device is None or device.type == "cpu" else torch.Stream(device)
        self._sending: SimpleQueue[Sending | None] = SimpleQueue()
        self._thread: Thread | None = None

    def keep(self, work: dist.Work, tensor: Tensor) -> None:
        """Keep a tensor until its send, `work`, is done."""
        if self._thread is None:
            self._thread = Thread(
                target=_empty,
                args=(self._sending, self._stream),
                name="gru_parallel outbox",
                daemon=True,
            )
            self._thread.start()
            # The thread has only the queue, so it also ends with an outbox that was never closed.
            self._finalizer = weakref.finalize(self, self._sending.put, None)
        self._sending.put((work, tensor))

    def close(self) -> None:
        """Wait until everything is sent, and end the thread."""
        if self._thread is not None:
            self._finalizer()
            self._thread.join()
            self._thread = None


def _empty(sending: SimpleQueue[Sending | None], stream: torch.Stream | None) -> None:
    while (item := sending.get()) is not None:
        try:
            with nullcontext() if stream is None else stream:
                item[0].wait()
            if stream is not None:
                # NCCL's wait blocks a stream, not the host: the tensor may not have been read yet.
                stream.synchronize()
        except RuntimeError:
            # The rank that waits for this one, or for the one that is gone, reports it.
            return
        # The next item may be long in coming, and a tensor lives no longer than its send.
        del item
