"""A stage's lane on its device: what its work is queued on, and how tensors leave and enter it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

Streams = Mapping[torch.device, torch.Stream]
"""The caller's current stream on each accelerator in use."""


Move = tuple[Callable[[], object], torch.Event | None]
"""What starts a copy, and an event that says when it is there; None where the call waits for it."""


@dataclass(frozen=True)
class Packet:
    """A tensor on its way to another lane.

    Attributes:
        tensor: not to be read before `ready`.
        ready: None where it is there already.
        is_kept: whether its memory is kept from step to step.
    """

    tensor: Tensor
    ready: torch.Event | None = None
    is_kept: bool = False


class CPULane:
    """A worker thread with one intra-op thread; work is done when the call returns."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def start(self) -> None:
        """Prepare the thread that will do the work."""
        # More intra-op threads than one would fight with the other stages' workers for the cores.
        torch.set_num_threads(1)

    @contextmanager
    def step(self, callers: Streams) -> Iterator[None]:
        """Queue what happens inside after the caller's work, the caller's later work after it."""
        del callers
        yield

    def select(self) -> None:
        """Let the calling thread, which works for several lanes, queue on this one."""

    def send(self, tensor: Tensor, target: torch.device, room: Tensor | None = None) -> Packet:
        """Start moving `tensor` to `target`: into `room`, which is kept there, if there is one."""
        if room is not None:
            move, _ = self.move(tensor, target, room)
            move()
            return Packet(room, is_kept=True)
        return Packet(tensor.to(target))

    def move(self, tensor: Tensor, target: torch.device, room: Tensor) -> Move:
        """Return what copies `tensor` into `room` on `target`, as often as it is called."""
        del target
        # No stream of this lane's could say when a copy has come: so it is waited for.
        return partial(room.data.copy_, tensor), None

    def wait(self, ready: torch.Event) -> Callable[[], object]:
        """Return what waits for an event of another lane's `move`, as often as it is called."""
        return ready.synchronize

    def receive(self, packet: Packet) -> Tensor:
        """Wait until the tensor is there."""
        if packet.ready is not None:
            # It comes from an accelerator, whose copy the host has not waited for.
            packet.ready.synchronize()
        return packet.tensor

    def fetch(self, tensor: Tensor) -> Tensor:
        """Move a tensor of the batch to the lane's device."""
        return tensor.to(self.device)

    def take(self, room: Tensor, tensor: Tensor) -> None:
        """Copy a tensor of the batch into memory that is kept on the lane's device."""
        fill(room, tensor)

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""


class StreamLane:
    """Two streams of an accelerator: one computes, one copies. The host never waits.

    A copy to another accelerator is queued on the current streams of both, which torch has wait for
    each other. There it has a stream of its own, so that it neither waits for what that accelerator
    computes nor holds it up.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.compute = torch.Stream(device)
        self.copies = torch.Stream(device)
        self._arrivals: dict[torch.device, torch.Stream] = {}
        self._callers: Streams = {}
        self._up_to_date: set[torch.device] = set()
        self._has_sent = False

    def start(self) -> None:
        """Prepare the thread that will do the work."""
        torch.accelerator.set_device_index(self.device)

    @contextmanager
    def step(self, callers: Streams) -> Iterator[None]:
        """Queue what happens inside after the caller's work, the caller's later work after it."""
        self.begin(callers)
        caller = callers[self.device]
        # A checkpoint may run F again inside of B, in one thread: before torch 2.12 a stream cannot
        # be entered twice by `with`.
        before = torch.accelerator.current_stream(self.device)
        device_before = torch.accelerator.current_device_index()
        torch.accelerator.set_stream(self.compute)
        try:
            yield
        except BaseException:
            # A device that has failed says so here again, and the first word is the better one.
            with suppress(RuntimeError):
                caller.wait_stream(self.compute)
            raise
        finally:
            torch.accelerator.set_stream(before)
            torch.accelerator.set_device_index(device_before)
        caller.wait_stream(self.compute)

    def begin(self, callers: Streams) -> None:
        """Have what is queued from now on wait for the callers' work, and for copies made before.

        Args:
            callers: the caller's current stream on each accelerator; its work there includes what
                other lanes did in calls before.
        """
        self._callers, self._up_to_date = callers, set()
        # Memory that is kept from step to step may be what a copy of the last one still reads. Only
        # then the caller, who may be recording a graph, in which earlier work is not to be had.
        if self._has_sent:
            self.compute.wait_stream(self.copies)
        self._has_sent = False
        self.compute.wait_stream(callers[self.device])

    def select(self) -> None:
        """Let the calling thread, which works for several lanes, queue on this one."""
        torch.accelerator.set_stream(self.compute)

    def send(self, tensor: Tensor, target: torch.device, room: Tensor | None = None) -> Packet:
        """Start moving `tensor` to `target`; see `CPULane`. The computation is not held up."""
        if room is not None:
            move, ready = self.move(tensor, target, room)
            move()
            return Packet(room, ready, is_kept=True)
        if tensor.device == target:
            return Packet(tensor, self.compute.record_event())
        self._has_sent = True
        self.copies.wait_stream(self.compute)
        with self._arriving(target, is_kept=False), self.copies:
            moved = tensor.to(target, non_blocking=True)
            ready = self.copies.record_event()
        # The allocator must not hand the source's memory out again before the copy has read it.
        tensor.record_stream(self.copies)
        return Packet(moved, ready)

    def move(self, tensor: Tensor, target: torch.device, room: Tensor) -> Move:
        """Return what copies `tensor` into `room`; see `CPULane`.

        It records the same two events at each call. What waits for one waits for its last record,
        so the one before has to have been waited for by then, at least in the host's order.
        """
        computed, ready = torch.Event(self.device), torch.Event(self.device)

        def copy() -> None:
            self._has_sent = True
            self.compute.record_event(computed)
            self.copies.wait_event(computed)
            with self._arriving(target, is_kept=True), self.copies:
                fill(room, tensor)
                self.copies.record_event(ready)

        return copy, ready

    def wait(self, ready: torch.Event) -> Callable[[], object]:
        """Return what has the lane's later work wait for an event; see `CPULane`."""
        return partial(self.compute.wait_event, ready)

    def _arriving(self, target: torch.device, *, is_kept: bool) -> AbstractContextManager[object]:
        """Return what a copy to a device is queued on there; nothing on the own one and on CPUs.

        Memory that is kept there is not written to before what has read it in earlier calls.
        """
        caller = None if target == self.device else self._callers.get(target)
        if caller is None:
            return nullcontext()
        if target not in self._arrivals:
            self._arrivals[target] = torch.Stream(target)
        arriving = self._arrivals[target]
        if is_kept and target not in self._up_to_date:
            self._up_to_date.add(target)
            arriving.wait_stream(caller)
        return arriving

    def receive(self, packet: Packet) -> Tensor:
        """Make the lane's later work wait until the tensor is there."""
        if packet.ready is not None:
            self.compute.wait_event(packet.ready)
        if not packet.is_kept:
            # The tensor's memory belongs to the stream that it was made on, which must not hand it
            # out again before this lane has read it.
            packet.tensor.record_stream(self.compute)
        return packet.tensor

    def fetch(self, tensor: Tensor) -> Tensor:
        """Move a tensor of the batch to the lane's device, without waiting."""
        return _pinned(tensor).to(self.device, non_blocking=True)

    def take(self, room: Tensor, tensor: Tensor) -> None:
        """Copy a tensor of the batch into memory that is kept on the lane's device.

        From another accelerator it is copied on the caller's stream there. Where the calling thread
        works for several lanes, the current one may be another lane's, with all that this has
        queued already.
        """
        caller = None if tensor.device == self.device else self._callers.get(tensor.device)
        if caller is None:
            fill(room, tensor)
            return
        before = torch.accelerator.current_stream(tensor.device)
        torch.accelerator.set_stream(caller)
        try:
            fill(room, tensor)
        finally:
            torch.accelerator.set_stream(before)
            self.select()

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
        self.compute.synchronize()


Lane = CPULane | StreamLane


def fill(room: Tensor, tensor: Tensor) -> Tensor:
    """Copy a tensor, on any device, into memory that is kept; return that."""
    # The memory alone: autograd's count of versions is for what is not replayed. To the CPU the
    # copy is waited for, since nothing else would say when it has come.
    is_waited_for = room.device.type == "cpu"
    room.data.copy_(tensor if is_waited_for else _pinned(tensor), non_blocking=not is_waited_for)
    return room


def _pinned(tensor: Tensor) -> Tensor:
    """Return a tensor in memory that an accelerator copies without the host waiting for it.

    A copy from other memory of the CPU waits for all that is queued before it. A part of a batch,
    and what has been made of one, are not in the batch's memory, wherever that may be.
    """
    return tensor.contiguous().pin_memory() if tensor.device.type == "cpu" else tensor


def make_lane(device: torch.device) -> Lane:
    """Return a lane on `device`."""
    return CPULane(device) if device.type == "cpu" else StreamLane(device)
