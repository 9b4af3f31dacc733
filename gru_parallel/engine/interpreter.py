"""The one loop of every engine: take the next action, run it, record the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import torch

from gru_parallel.engine.channel import Aborted, Channel
from gru_parallel.schedule import Action, Cell, Event, Op
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.stage_pass import StagePass

NO_ROOM = Parcel(Cell(0, 0), None)
"""For a result that is sent in new memory."""


class Interpreter:
    """Runs a stage's list of actions: F, B and W on the pass, sends and receives on the channel.

    Args:
        stage_pass: what computes.
        channel: what carries tensors to and from the other stages.
        devices: of every stage in order, to know where a tensor goes.
        wait: whether to wait for the device before the first action and after each, so that times
            measure the work of each and not its queueing, nor what was queued before.
        running: is told what the stage does, by its index, for others to see.
    """

    def __init__(
        self,
        stage_pass: StagePass,
        channel: Channel,
        devices: Sequence[torch.device],
        *,
        wait: bool,
        running: dict[int, Action] | None = None,
    ) -> None:
        self._pass = stage_pass
        self._stage = stage_pass.stage
        self._channel = channel
        self._devices = devices
        self._wait = wait
        self._running = {} if running is None else running
        self._received: dict[tuple[Op, Cell], Parcel] = {}
        self._to_send: dict[tuple[Op, Cell], Parcel] = {}

    def run(self, actions: Sequence[Action], clock_start: float) -> list[Event]:
        """Run the actions in their order.

        Args:
            actions: the stage's lowered list.
            clock_start: the moment, on `perf_counter`, that times are counted from.

        Returns:
            One event per action, in ms.

        Raises:
            Aborted: another stage failed.
            Exception: what an action raised, with a note that names stage, device, action and cell.
        """
        events = []
        stage = self._stage.index
        if self._wait:
            # For the optimiser of the step before, which is no part of the first action.
            self._stage.lane.synchronize()
        for action in actions:
            self._running[stage] = action
            start = perf_counter()
            try:
                self._channel.begin(action)
                _HANDLERS[action.op](self, action)
                if self._wait:
                    self._stage.lane.synchronize()
            except Aborted:
                raise
            except BaseException as error:
                name_place(error, self._stage, action)
                raise
            stop = perf_counter()
            events.append(Event(action, (start - clock_start) * 1e3, (stop - clock_start) * 1e3))
        return events

    def _forward(self, action: Action) -> None:
        received = self._received.pop((Op.RECV_F, action.cell), None)
        for parcel in self._pass.forward(action.cell, received):
            self._to_send[Op.SEND_F, parcel.cell] = parcel

    def _backward(self, action: Action) -> None:
        received = self._received.pop((Op.RECV_B, action.cell), None)
        for parcel in self._pass.backward(action.cell, received):
            self._to_send[Op.SEND_B, parcel.cell] = parcel

    def _weights(self, action: Action) -> None:
        self._pass.weights(action.cell)

    def _send(self, action: Action) -> None:
        parcel = self._to_send.pop((action.op, action.cell), None)
        if parcel is None or parcel.tensor is None:
            # The ring of a schedule that runs one cell at a time: only the order matters.
            self._channel.send(action, None)
            return
        lane, computed = self._stage.lane, Op.F if action.op is Op.SEND_F else Op.B
        target = self._devices[action.stage + (1 if computed is Op.F else -1)]
        room = self._pass.send_to.get((computed, action.cell), NO_ROOM)
        state = None if parcel.state is None else lane.send(parcel.state, target, room.state)
        self._channel.send(action, (lane.send(parcel.tensor, target, room.tensor), state))

    def _receive(self, action: Action) -> None:
        packets = self._channel.receive(action)
        if packets is None:
            return
        lane = self._stage.lane
        tensor, state = packets
        self._received[action.op, action.cell] = Parcel(
            action.cell,
            lane.receive(tensor),
            None if state is None else lane.receive(state),
        )


def name_place(error: BaseException, stage: Stage, action: Action) -> None:
    """Add a note to an error that names stage, device, action and cell."""
    error.add_note(
        f"while stage {stage.index} on {stage.name} ran {action}"
        f" (micro-batch {action.micro_batch}, chunk {action.chunk})"
    )


# Not bound to an interpreter, which would then hold on to itself, and so to the batch.
_HANDLERS: dict[Op, Callable[[Interpreter, Action], None]] = {
    Op.F: Interpreter._forward,
    Op.B: Interpreter._backward,
    Op.W: Interpreter._weights,
    Op.SEND_F: Interpreter._send,
    Op.SEND_B: Interpreter._send,
    Op.RECV_F: Interpreter._receive,
    Op.RECV_B: Interpreter._receive,
}
