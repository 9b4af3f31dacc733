"""Streams of two made-up accelerators, to see whether anything puts accesses to memory in order.

Work is done on the CPU, one piece after the other. What is looked at is only what a device would
know of the order: each stream has a vector clock (Mattern 1989; Fidge 1988), which waiting for
another stream, or for an event, brings up to date. Two accesses to one memory, one of which writes,
have to be ordered by these clocks.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel.engine import graphs, stages
from gru_parallel.engine.context import CallerContext
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.engine.workers import Workers
from gru_parallel.model.dropout import Mask
from gru_parallel.schedule import Timeline
from gru_parallel.stage import cpu_recorder, lane
from gru_parallel.stage.cpu_recorder import CPURecording
from gru_parallel.stage.lane import Move, Packet, StreamLane, Streams
from gru_parallel.stage.recorded_pass import RecordedPass
from gru_parallel.stage.stage_pass import StagePass

CPU = torch.device("cpu")
PLACES = (torch.device("cuda", 0), torch.device("cuda", 1))


@dataclass
class Work:
    """A piece of work.

    Attributes:
        name: what it is.
        stream: that it is queued on.
        number: of the stream's pieces of work up to it.
        clock: pieces of work of each stream that are done when it begins, itself included.
        reads, writes: memory.
    """

    name: str
    stream: str
    number: int
    clock: Counter[str]
    reads: frozenset[int]
    writes: frozenset[int]


@dataclass
class Event:
    """See `torch.Event`."""

    device: torch.device
    clock: Counter[str] = field(default_factory=Counter)
    stream: str = ""


@dataclass
class Stream:
    """See `torch.Stream`."""

    name: str
    device: torch.device
    order: StreamOrder
    clock: Counter[str] = field(default_factory=Counter)
    waits: set[str] = field(default_factory=set)
    waits_for_events: set[str] = field(default_factory=set)
    _before: list[tuple[torch.device, Stream]] = field(default_factory=list)

    def wait_stream(self, other: Stream) -> None:
        """Wait for what is queued on another one."""
        self.waits.add(other.name)
        self.clock |= other.clock

    def wait_event(self, event: Event) -> None:
        """Wait for what was queued on another one before an event."""
        self.waits_for_events.add(event.stream)
        self.clock |= event.clock

    def record_event(self, event: Event) -> Event:
        """Have an event stand for what is queued."""
        event.clock, event.stream = Counter(self.clock), self.name
        return event

    def __enter__(self) -> None:
        self._before.append((self.order.place, self.order.current(self.device)))
        self.order.set(self)

    def __exit__(self, *of_error: object) -> None:
        place, before = self._before.pop()
        self.order.set(before)
        self.order.here.place = place


class PlacedLane(StreamLane):
    """A lane whose tensors are on the CPU, and whose streams are on a made-up accelerator."""

    def __init__(self, place: torch.device) -> None:
        self.place = place
        super().__init__(place)
        self.device = CPU

    def start(self) -> None:
        """There is nothing to prepare."""

    @contextmanager
    def step(self, callers: Streams) -> Iterator[None]:
        """See `StreamLane`."""
        with ExitStack() as stack:
            with self._seen():
                stack.enter_context(super().step(callers))
            yield

    def send(self, tensor: Tensor, target: torch.device, room: Tensor | None = None) -> Packet:
        """See `StreamLane`; what is not replayed is of no interest here."""
        return Packet(tensor) if room is None else super().send(tensor, target, room)

    def move(self, tensor: Tensor, target: torch.device, room: Tensor) -> Move:
        """See `StreamLane`."""
        with self._seen():
            copy, ready = super().move(tensor, target, room)

        def copy_as_there() -> None:
            with self._seen():
                copy()

        return copy_as_there, ready

    @contextmanager
    def _seen(self) -> Iterator[None]:
        """Let the lane, in what it does itself, have the accelerator for its device."""
        self.device = self.place
        try:
            yield
        finally:
            self.device = CPU


class StreamOrder:
    """Notes what the replays of an engine queue on which stream.

    Args:
        patch: undoes what is replaced.
        places: of each stage, an index into `PLACES`.

    Attributes:
        work: what was queued, in the order of the host.
        streams: all streams, by name.
        n_events: that were made.
    """

    def __init__(self, patch: pytest.MonkeyPatch, places: Iterable[int]) -> None:
        self.work: list[Work] = []
        self.streams: dict[str, Stream] = {}
        self.n_events = 0
        self.here = threading.local()
        self._rooms: dict[int, torch.device] = {}
        self._callers = {place: self._stream(place) for place in PLACES}
        waiting = iter(places)
        patch.setattr(torch, "Stream", self._stream)
        patch.setattr(torch, "Event", self._event)
        patch.setattr(Tensor, "record_stream", lambda *_: None)
        patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        self.lanes: list[PlacedLane] = []
        patch.setattr(stages, "make_lane", lambda _: self._lane(PLACES[next(waiting)]))
        patch.setattr(graphs, "N_EAGER", 1)
        for name, function in {
            "current_stream": self.current,
            "set_stream": self.set,
            "current_device_index": lambda: self.place,
            "set_device_index": lambda place: setattr(self.here, "place", place),
        }.items():
            patch.setattr(torch.accelerator, name, function)
        capture = CallerContext.capture

        run = Workers.run

        def run_apart(workers: Workers, *arguments: Any, **options: Any) -> Timeline:
            workers._devices = [lane.place for lane in self.lanes]
            return run(workers, *arguments, **options)

        patch.setattr(Workers, "run", run_apart)

        def captured(*arguments: Any) -> CallerContext:
            return replace(capture(*arguments), streams=self._callers)

        patch.setattr(CallerContext, "capture", captured)
        self._note_replays(patch)

    @property
    def place(self) -> torch.device:
        """The current device of the calling thread."""
        return getattr(self.here, "place", PLACES[0])

    def current(self, device: torch.device) -> Stream:
        """Return the calling thread's current stream on a device."""
        streams = getattr(self.here, "streams", self._callers)
        return streams[device]

    def set(self, stream: Stream) -> None:
        """Make a stream and its device the current ones of the calling thread."""
        streams = getattr(self.here, "streams", self._callers)
        self.here.streams = {**streams, stream.device: stream}
        self.here.place = stream.device

    def call(self, name: str, engine: ThreadEngine) -> None:
        """Note work of the caller's that writes to the weights of each stage, where they are."""
        for stage, own in zip(engine.stages, self.lanes, strict=True):
            weights = [weight.data for weight in stage.modules.weights()]
            self._note(name, self._callers[own.place], [], weights)

    def forget(self, engine: ThreadEngine) -> None:
        """Forget what was queued while calls were recorded, and learn where their memory is."""
        self.work.clear()
        assert engine._graphs is not None
        for recorded in engine._graphs._recorded:
            for each in recorded.passes:
                for parcel in each._rooms.values():
                    for tensor in (parcel.tensor, parcel.state):
                        if tensor is not None:
                            self._rooms[_memory(tensor)] = self.lanes[each.stage.index].place

    def races(self) -> set[str]:
        """Describe accesses to one memory that nothing puts in order."""
        by_memory: dict[int, list[Work]] = {}
        for work in self.work:
            for memory in work.reads | work.writes:
                by_memory.setdefault(memory, []).append(work)
        return {
            f"{one.name} on {one.stream}, {other.name} on {other.stream}"
            for memory, accesses in by_memory.items()
            for number, other in enumerate(accesses)
            for one in accesses[:number]
            if memory in one.writes | other.writes and other.clock[one.stream] < one.number
        }

    def _lane(self, place: torch.device) -> PlacedLane:
        self.lanes.append(PlacedLane(place))
        return self.lanes[-1]

    def _stream(self, device: torch.device) -> Stream:
        stream = Stream(f"stream {len(self.streams)} of {device}", device, self)
        self.streams[stream.name] = stream
        return stream

    def _event(self, device: torch.device) -> Event:
        self.n_events += 1
        return Event(device)

    def _note(
        self, name: str, stream: Stream, reads: Iterable[Tensor], writes: Iterable[Tensor]
    ) -> None:
        stream.clock[stream.name] += 1
        memory = (frozenset(map(_memory, tensors)) for tensors in (reads, writes))
        clock = Counter(stream.clock)
        self.work.append(Work(name, stream.name, clock[stream.name], clock, *memory))

    def _note_replays(self, patch: pytest.MonkeyPatch) -> None:
        fill, replay, draw = lane.fill, CPURecording.replay, Mask.draw

        def noted_fill(room: Tensor, tensor: Tensor) -> Tensor:
            here, there = self.current(self.place), self._rooms.get(_memory(room), self.place)
            # As torch copies between two GPUs: the current streams of both wait for each other.
            if there != self.place:
                here.wait_stream(self.current(there))
            self._note("a copy", here, [tensor], [room])
            if there != self.place:
                self.current(there).wait_stream(here)
            return fill(room, tensor)

        def noted_replay(recording: CPURecording) -> None:
            self._note("a replay", self.current(self.place), *_accesses(recording))
            replay(recording)

        def noted_draw(mask: Mask, *of_step: int) -> None:
            self._note("a mask", self.current(self.place), [], [mask.tensor])
            draw(mask, *of_step)

        def noted_gradients(each: RecordedPass) -> list[Tensor | None]:
            if each.is_recorded:
                found = [g for g in StagePass.weight_gradients(each) if g is not None]
                self._note(
                    "gradients", self._callers[self.lanes[each.stage.index].place], found, []
                )
            return weight_gradients(each)

        weight_gradients = RecordedPass.weight_gradients
        patch.setattr(RecordedPass, "weight_gradients", noted_gradients)
        patch.setattr(lane, "fill", noted_fill)
        patch.setattr(CPURecording, "replay", noted_replay)
        patch.setattr(Mask, "draw", noted_draw)


def _accesses(recording: CPURecording) -> tuple[list[Tensor], list[Tensor]]:
    reads: list[Tensor] = []
    writes: list[Tensor] = []
    for call in recording._calls:
        reads += cpu_recorder._tensors((*call._args, *call._kwargs.values()))
        writes += [tensor for tensor in call.made if tensor is not None]
        writes += cpu_recorder._written(call._func, call._args, call._kwargs)
    return reads, writes


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
