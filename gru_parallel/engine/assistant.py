"""Assistant: a second device that works beside a stage's home, on half of a bidirectional layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor

from gru_parallel.engine.context import CallerContext
from gru_parallel.stage.lane import Lane, Packet
from gru_parallel.stage.second_device import Found, Work

Sent = list[Packet | None]


class Assistant:
    """Runs work on a second device, in a thread of its own.

    Args:
        name: of the device, for the thread.
        lane: of the device.
    """

    def __init__(self, name: str, lane: Lane) -> None:
        self.name = name
        self.lane = lane
        self._thread: ThreadPoolExecutor | None = None
        self._process = 0

    def open(self) -> None:
        """Start the thread; does nothing while it runs.

        Raises:
            Exception: the thread cannot start, or cannot use the device.
        """
        if self._thread is None or self._process != os.getpid():
            # A forked child has none of its parent's threads.
            self._process = os.getpid()
            name = f"gru_parallel assistant ({self.name})"
            self._thread = ThreadPoolExecutor(1, name)
            try:
                self._thread.submit(self.lane.start).result()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End the thread; does nothing when it does not run."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def beside(
        self,
        work: Work,
        tensors: Sequence[Tensor | None],
        home: Lane,
        meanwhile: Callable[[], Found],
    ) -> tuple[Found, list[Tensor | None]]:
        """See `SecondDevice.beside`."""
        begun = self._begin(work, tensors, home)
        try:
            found = meanwhile()
            return found, _receive(begun.result(), home)
        finally:
            wait([begun])
            # An error of the work has a traceback that holds this frame, which must not hold it.
            del begun

    def _begin(self, work: Work, tensors: Sequence[Tensor | None], home: Lane) -> Future[Sent]:
        assert self._thread is not None
        taken = _send(tensors, home, self.lane)
        context = CallerContext.capture({home.device, self.lane.device})
        recording = torch.is_grad_enabled()

        def run() -> Sent:
            with (
                context.taken_over(gradients=recording),
                context.observed(),
                self.lane.step(context.streams),
            ):
                return _send(work(_receive(taken, self.lane)), self.lane, home)

        return self._thread.submit(run)


def _send(tensors: Sequence[Tensor | None], lane: Lane, target: Lane) -> Sent:
    return [None if t is None else lane.send(t, target.device) for t in tensors]


def _receive(packets: Sent, lane: Lane) -> list[Tensor | None]:
    return [None if packet is None else lane.receive(packet) for packet in packets]
