"""SecondDevice: what a stage asks of a device that works beside its own, in reverse direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from torch import Tensor

from gru_parallel.stage.lane import Lane

Work = Callable[[Sequence[Tensor | None]], list[Tensor | None]]
"""From tensors on a device to tensors on that device."""

Found = TypeVar("Found")


class SecondDevice(Protocol):
    """Runs work on a device of its own while the stage does something else."""

    lane: Lane

    def open(self) -> None:
        """Get ready to work; does nothing where it is."""
        ...

    def close(self) -> None:
        """Stop; does nothing where it has stopped."""
        ...

    def beside(
        self,
        work: Work,
        tensors: Sequence[Tensor | None],
        home: Lane,
        meanwhile: Callable[[], Found],
    ) -> tuple[Found, list[Tensor | None]]:
        """Do work on the device and something else in the calling thread, at once.

        Args:
            work: what to do, in the state of the calling thread.
            tensors: what it takes, on the calling stage's device.
            home: lane of the calling stage, to which the results come back.
            meanwhile: what the calling thread does.

        Returns:
            What came of both; of the work on the calling stage's device.

        Raises:
            Exception: what either raised, once neither runs any longer.
        """
        ...
