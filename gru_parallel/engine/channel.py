"""Channels: how a tensor goes from stage to stage; in one process, through queues."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Protocol

from gru_parallel.errors import ScheduleError
from gru_parallel.schedule import Action, Op, partner
from gru_parallel.stage.lane import Packet

Packets = tuple[Packet, Packet | None]
"""The tensor of a cell, and the state that goes with it, if one does."""


class Aborted(Exception):
    """Another stage has failed, so what this one waits for will never come."""


class Channel(Protocol):
    """Carries what stages hand over to each other, for the length of one step."""

    def begin(self, action: Action) -> None:
        """Learn that a stage begins an action.

        Raises:
            Aborted: `abort` was called.
        """
        ...

    def send(self, action: Action, packets: Packets | None) -> None:
        """Hand over the packets of a SEND action, without waiting; None for the order alone."""
        ...

    def receive(self, action: Action) -> Packets | None:
        """Wait for the packets of a RECV action.

        Raises:
            Aborted: `abort` was called.
        """
        ...

    def abort(self, error: BaseException | None = None) -> None:
        """Wake every waiting stage with `Aborted`, and tell the others when they begin an action.

        Args:
            error: what a stage failed with; None where somebody else ends the step.
        """
        ...


class QueueChannel:
    """First in, first out queues between the stages of one process, for the length of one step."""

    def __init__(self, n_stages: int) -> None:
        self._n_stages = n_stages
        self._queues: dict[tuple[Op, int], SimpleQueue[tuple[Action, Packets | None] | None]] = {
            (op, stage): SimpleQueue() for op in (Op.RECV_F, Op.RECV_B) for stage in range(n_stages)
        }
        self._aborted = False

    def send(self, action: Action, packets: Packets | None) -> None:
        """Hand over the packets of a SEND action; None where only the order matters."""
        wanted = partner(action, self._n_stages)
        self._queues[wanted.op, wanted.stage].put((wanted, packets))

    def receive(self, action: Action) -> Packets | None:
        """Wait for the packets of a RECV action.

        Raises:
            Aborted: `abort` was called.
            ScheduleError: another cell's packets arrived.
        """
        item = self._queues[action.op, action.stage].get()
        if item is None:
            raise Aborted
        arrived, packets = item
        if arrived != action:
            raise ScheduleError(
                f"{action} was to be received, {arrived} arrived:"
                " sends and receives differ in order."
            )
        return packets

    def begin(self, action: Action) -> None:
        """Stop a stage that waits for nothing; see `Channel`."""
        del action
        if self._aborted:
            raise Aborted

    def abort(self, error: BaseException | None = None) -> None:
        """Wake every waiting stage; see `Channel`."""
        del error
        self._aborted = True
        for queue in self._queues.values():
            queue.put(None)
