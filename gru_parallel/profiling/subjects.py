"""Stages of a model's parts, alone and in the calling thread, so that each part can be timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gru_parallel.engine.torch_device import torch_device
from gru_parallel.model import LOSSES, Windows
from gru_parallel.model.bidirectional import BidirectionalBlock
from gru_parallel.model.block import Block, GRUBlock
from gru_parallel.model.head import Head, StepHead, WindowHead
from gru_parallel.placement.cluster import Device
from gru_parallel.planning.cell_costs import CellTimes, LayerKind, LinearKind
from gru_parallel.schedule import Cell, Op, segments_of
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.lane import CPULane, Lane, StreamLane, make_lane
from gru_parallel.stage.recorded_pass import RecordedPass
from gru_parallel.stage.recorder import make_recorder
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import Stage, StageModules
from gru_parallel.stage.stage_pass import StagePass

_LOSS = LOSSES["mse"]
_DROPOUT = 0.1

WAITING_SHARE = 0.5
"""Of the time that threads wait for each other where all do the same at once. The stages of a
pipeline are at different actions and meet less; so much of it was found in them, in chunks of 2 to
6 steps of 32 and 64 rows on two cores, where all or none is 20 to 30 % off either way."""


@dataclass(frozen=True)
class Precision:
    """The number type of a run.

    Attributes:
        weights: the type of weights.
        autocast: the type that autocast asks for; None where it is off.
    """

    weights: torch.dtype = torch.float32
    autocast: torch.dtype | None = None

    def context(self, device: torch.device) -> AbstractContextManager[object]:
        """Return what a step runs in."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(device.type, self.autocast)


@dataclass(frozen=True)
class Subject:
    """One stage with the parts to be timed, away from any engine.

    Attributes:
        stage: that runs them.
        n_channels: features of a window, or of what the stage before gives out.
        precision: of the run.
        replays: whether what runs is recorded and replayed.
    """

    stage: Stage
    n_channels: int
    precision: Precision
    replays: bool = False

    def spec(self, rows: int, steps: int, n_chunks: int, *, separates_weights: bool) -> PassSpec:
        """Say what to run: a window of some chunks, in one micro-batch."""
        x = torch.randn(rows, steps * n_chunks, self.n_channels, dtype=self.precision.weights)
        y, count = self._targets(rows, steps * n_chunks)
        return PassSpec(
            Purpose.TRAIN,
            Windows(x, y),
            Cells.cut(rows, steps * n_chunks, 1, n_chunks),
            segments_of(n_chunks, None),
            _LOSS,
            count,
            separates_weights=separates_weights,
        )

    def passes(self, spec: PassSpec) -> Callable[[], StagePass]:
        """Return what makes a pass over the cells, or gets a recorded one ready to be replayed."""
        if not self.replays:
            return lambda: StagePass(self.stage, spec)
        recorded = self._record(spec)

        def again() -> StagePass:
            recorded.renew(spec)
            return recorded

        return again

    def run(
        self, spec: PassSpec, make_pass: Callable[[], StagePass], *, is_alone: bool = True
    ) -> tuple[float, float, float]:
        """Run F, B and W of all cells.

        Args:
            spec: of the pass.
            make_pass: of `passes`.
            is_alone: whether no other thread computes meanwhile.

        Returns:
            What all F, all B and all W took, in ms, see `stopwatch_of`.
        """
        lane, cells = self.stage.lane, list(spec.cells.grid())
        received = {cell: self._received(spec, cell) for cell in cells}
        watch = stopwatch_of(lane, is_alone=is_alone)
        with self._step():
            stage_pass = make_pass()
            started = watch.mark()
            given = [p for cell in cells for p in stage_pass.forward(cell, received[cell])]
            forward = (started, watch.mark())
            gradients = {p.cell: Parcel(p.cell, _like(p.tensor)) for p in given}
            started = watch.mark()
            for cell in reversed(cells):
                stage_pass.backward(cell, gradients.get(cell))
            backward = (started, watch.mark())
            if spec.separates_weights:
                for cell in reversed(cells):
                    stage_pass.weights(cell)
            weights = (backward[1], watch.mark())
        times = [watch.ms(*span) for span in (forward, backward, weights)]
        return times[0], times[1], times[2] if spec.separates_weights else 0.0

    def _record(self, spec: PassSpec) -> RecordedPass:
        """Record a pass, cell by cell, in memory that stays."""
        cells, device = list(spec.cells.grid()), self.stage.lane.device
        rooms: dict[tuple[Op, Cell], Parcel] = {}
        with self._step():
            # Eagerly first, as an engine does, and to see the shapes of what is given out.
            eager = StagePass(self.stage, spec)
            for cell in cells:
                received = self._received(spec, cell)
                if received is not None:
                    rooms[Op.F, cell] = received
                for parcel in eager.forward(cell, received):
                    rooms[Op.B, parcel.cell] = Parcel(parcel.cell, _like(parcel.tensor))
            for cell in reversed(cells):
                eager.backward(cell, rooms.get((Op.B, cell)))
            if spec.separates_weights:
                for cell in reversed(cells):
                    eager.weights(cell)
            recorded = RecordedPass(self.stage, spec, make_recorder(device), rooms)
            for cell in cells:
                recorded.forward(cell, None)
            for cell in reversed(cells):
                recorded.backward(cell, None)
            if spec.separates_weights:
                for cell in reversed(cells):
                    recorded.weights(cell)
        recorded.is_recorded = True
        return recorded

    @contextmanager
    def _step(self) -> Iterator[None]:
        lane = self.stage.lane
        is_cpu = lane.device.type == "cpu"
        stream = None if is_cpu else torch.accelerator.current_stream(lane.device)
        with lane.step(stream), self.precision.context(lane.device):
            yield

    def _received(self, spec: PassSpec, cell: Cell) -> Parcel | None:
        if self.stage.is_first:
            return None
        return Parcel(cell, spec.cells.inputs(spec.windows.x, cell).to(self.stage.lane.device))

    def _targets(self, rows: int, steps: int) -> tuple[Tensor, int]:
        head = self.stage.modules.head
        time = (steps,) if head is not None and head.every_step else ()
        shape = (rows, *time, *(head.output_shape if head is not None else (1,)))
        y = torch.randn(shape, dtype=self.precision.weights)
        return y, _LOSS.count(y)


class Stopwatch(Protocol):
    """Times what a lane does."""

    def mark(self) -> Any:
        """Take note of a moment, after what has been done or queued so far."""
        ...

    def ms(self, start: Any, stop: Any) -> float:
        """Return what was done between two moments, in ms."""
        ...


class CPUStopwatch:
    """The calling thread's CPU time, which other programs on the machine disturb least.

    Args:
        is_alone: whether no other thread computes. Threads that do wait for each other, for the
            interpreter's lock above all, and a share of that is counted besides.
    """

    def __init__(self, *, is_alone: bool) -> None:
        self._share = 0.0 if is_alone else WAITING_SHARE

    def mark(self) -> tuple[float, float]:
        """See `Stopwatch`."""
        return thread_time(), perf_counter()

    def ms(self, start: tuple[float, float], stop: tuple[float, float]) -> float:
        """See `Stopwatch`."""
        computed, passed = (after - before for before, after in zip(start, stop, strict=True))
        return 1e3 * (computed + self._share * max(0.0, passed - computed))


class EventStopwatch:
    """Events in the stream that a lane computes on."""

    def __init__(self, lane: StreamLane) -> None:
        self._lane = lane

    def mark(self) -> torch.Event:
        """See `Stopwatch`."""
        event = torch.Event(self._lane.device, enable_timing=True)
        event.record(self._lane.compute)
        return event

    def ms(self, start: torch.Event, stop: torch.Event) -> float:
        """See `Stopwatch`; waits until the device is there."""
        stop.synchronize()
        return float(start.elapsed_time(stop))


def stopwatch_of(lane: Lane, *, is_alone: bool) -> Stopwatch:
    """Return what times a lane."""
    if isinstance(lane, CPULane):
        return CPUStopwatch(is_alone=is_alone)
    return EventStopwatch(lane)


def subject_of(
    layers: Sequence[LayerKind],
    device: Device,
    precision: Precision,
    encoder: LinearKind | None = None,
    head: LinearKind | None = None,
    *,
    replays: bool = False,
) -> Subject:
    """Make a stage of some layers, one block each.

    Args:
        layers: consecutive layers of one stack.
        device: to run on.
        precision: of the run.
        encoder: before the first layer, if the stage is the first of a model.
        head: after the last layer, if the stage is the last.
        replays: whether what runs is recorded and replayed.
    """
    lane = make_lane(torch_device(device.name))
    blocks = [_block(layer) for layer in layers]
    starts = [sum(b.n_states for b in blocks[:index]) for index in range(len(blocks))]
    slices = tuple(slice(s, s + b.n_states) for s, b in zip(starts, blocks, strict=True))
    first = None if encoder is None else nn.Linear(encoder.in_features, encoder.out_features)
    last = None if head is None else _head(head)
    modules = StageModules(first, tuple(blocks), slices, last)
    for module in modules.all_modules:
        module.to(lane.device, precision.weights)
    stage = Stage(
        0 if encoder is not None else 1, device.name, modules, lane, is_last=head is not None
    )
    stage.place(modules)
    n_channels = layers[0].input_size if encoder is None else encoder.in_features
    return Subject(stage, n_channels, precision, replays)


def _head(kind: LinearKind) -> Head:
    if kind.every_step:
        return StepHead(kind.in_features, kind.out_features)
    return WindowHead(kind.in_features, (kind.out_features,))


def _block(kind: LayerKind) -> Block:
    make = BidirectionalBlock if kind.bidirectional else GRUBlock
    return make(
        kind.input_size,
        kind.hidden_size,
        last=not kind.has_dropout,
        dropout=_DROPOUT if kind.has_dropout else 0.0,
        h_0="zeros",
        core=kind.core,
    )


def _like(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else torch.randn_like(tensor)


def difference(whole: CellTimes, part: CellTimes) -> CellTimes:
    """Return what is left of a time without a part of it, no less than nothing."""
    return CellTimes(*(max(0.0, all_ - some) for all_, some in zip(whole, part, strict=True)))
