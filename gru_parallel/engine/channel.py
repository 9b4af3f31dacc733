"""Channel: how a tensor goes from stage to stage, whatever carries it."""

from __future__ import annotations

from typing import Protocol

from gru_parallel.schedule import Action
from gru_parallel.stage.lane import Packet

HandOver = tuple[Packet, Packet | None]
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

    def send(self, action: Action, packets: HandOver | None) -> None:
        """Hand over the packets of a SEND action, without waiting; None for the order alone."""
        ...

    def receive(self, action: Action) -> HandOver | None:
        """Wait for the packets of a RECV action.

        Raises:
            Aborted: `abort` was called.
        """
        ...

    def abort(self, error: BaseException | None = None) -> None:
        """Wake every waiting stage with `Aborted`, and tell the others when they begin an action.

        Args:
            error: what a stage failed with; None if the caller ends the step.
        """
        ...
