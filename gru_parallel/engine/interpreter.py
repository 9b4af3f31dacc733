"""The one loop of every engine: take the next action, run it, note the time."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import torch
from torch import Tensor

from gru_parallel.engine.channel import Aborted, QueueChannel
from gru_parallel.engine.stage import CellIndex, Stage
from gru_parallel.schedule import Action, Event, Op


class Interpreter:
    """Runs a stage's list of actions: F and B on the stage, sends and receives on the channel.

    Args:
        stage: what computes.
        channel: what carries tensors to and from the other stages.
        devices: of every stage in order, to know where a tensor goes.
        wait: whether to wait for the device after each action, so that times measure the work and
            not its queueing.
    """

    def __init__(
        self, stage: Stage, channel: QueueChannel, devices: Sequence[torch.device], *, wait: bool
    ) -> None:
        self._stage = stage
        self._channel = channel
        self._devices = devices
        self._wait = wait
        self._received: dict[tuple[Op, CellIndex], Tensor] = {}
        self._to_send: dict[tuple[Op, CellIndex], Tensor | None] = {}
        self._handlers = {
            Op.F: self._forward,
            Op.B: self._backward,
            Op.SEND_F: self._send,
            Op.SEND_B: self._send,
            Op.RECV_F: self._receive,
            Op.RECV_B: self._receive,
        }

    def run(self, actions: Sequence[Action], clock_start: float) -> list[Event]:
        """Run the actions in their order.

        Args:
            actions: the stage's lowered list.
            clock_start: the moment, on `perf_counter`, that times are counted from.

        Returns:
            An event an action, in ms.

        Raises:
            Aborted: another stage failed.
            Exception: what an action raised, with a note that names stage, device, action and cell.
        """
        events = []
        for action in actions:
            start = perf_counter()
            try:
                self._channel.raise_if_aborted()
                self._handlers[action.op](action)
                if self._wait:
                    self._stage.lane.synchronize()
            except Aborted:
                raise
            except BaseException as error:
                error.add_note(
                    f"while stage {self._stage.index} on {self._stage.name} ran {action}"
                    f" (micro-batch {action.micro_batch}, chunk {action.chunk})"
                )
                raise
            stop = perf_counter()
            events.append(Event(action, (start - clock_start) * 1e3, (stop - clock_start) * 1e3))
        return events

    def _forward(self, action: Action) -> None:
        received = self._received.pop((Op.RECV_F, action.cell), None)
        self._to_send[Op.SEND_F, action.cell] = self._stage.forward(action.cell, received)

    def _backward(self, action: Action) -> None:
        received = self._received.pop((Op.RECV_B, action.cell), None)
        self._to_send[Op.SEND_B, action.cell] = self._stage.backward(action.cell, received)

    def _send(self, action: Action) -> None:
        tensor = self._to_send.pop((action.op, action.cell))
        if tensor is None:
            # The ring of a schedule that runs one cell at a time: only the order matters.
            self._channel.send(action, None)
            return
        step = 1 if action.op is Op.SEND_F else -1
        target = self._devices[action.stage + step]
        self._channel.send(action, self._stage.lane.send(tensor, target))

    def _receive(self, action: Action) -> None:
        packet = self._channel.receive(action)
        if packet is not None:
            self._received[action.op, action.cell] = self._stage.lane.receive(packet)
