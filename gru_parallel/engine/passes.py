"""Passes of a call, and calls that have been recorded, which hand out theirs again and again."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gru_parallel.engine.replay import BoundCalls, Replay, bind
from gru_parallel.schedule import Schedule
from gru_parallel.stage.recorded_pass import RecordedPass
from gru_parallel.stage.spec import PassSpec
from gru_parallel.stage.stage import StageModules
from gru_parallel.stage.stage_pass import StagePass


class Passes(list[StagePass]):
    """The passes of one call. As long as it lives, no other call writes to what they record.

    Attributes:
        read: weights and inputs that B will read as they are then, with their versions at F.
        prepare: gives the stages what F was computed with, where B runs it again; else None.
        recorded: what they replay; None where they run as they are, or record.
    """

    read: Sequence[tuple[Tensor, int]] = ()
    prepare: Callable[[], None] | None = None
    recorded: Recorded | None = None

    def replay(self, lowered: Schedule, devices: Sequence[torch.device]) -> Replay | None:
        """Return what replays the stages' lists; None for passes that run as they are, or record.

        Args:
            lowered: what each stage does, sends and receives included.
            devices: of every stage in order.
        """
        return None if self.recorded is None else self.recorded.replay(lowered, devices)

    def check_versions(self) -> None:
        """Refuse B where a weight or an input has been changed since F, as autograd does.

        Raises:
            RuntimeError: one has.
        """
        if any(weight._version != version for weight, version in self.read):
            raise RuntimeError(
                "a weight, or an input, has been modified by an inplace operation between forward"
                " and backward, which would give wrong gradients; call backward before the"
                " optimiser's step."
            )


@dataclass(frozen=True)
class Recorded:
    """A call that has been recorded.

    Attributes:
        kind: all that what is recorded depends on.
        modules: of the stages, with weights that stay in their memory.
        passes: of the stages.
        lent: the call that they were last handed out for.
        bindings: what is called to replay them, with the lists that it does.
    """

    kind: object
    modules: Sequence[StageModules]
    passes: Sequence[RecordedPass]
    lent: list[weakref.ref[Passes]]
    bindings: list[tuple[Schedule, BoundCalls]] = field(default_factory=list)

    def lend(self, spec: PassSpec) -> Passes:
        """Hand out the passes for a batch."""
        for each in self.passes:
            each.renew(spec)
        passes = Passes(self.passes)
        passes.recorded = self
        self.lent[:] = [weakref.ref(passes)]
        return passes

    def replay(self, lowered: Schedule, devices: Sequence[torch.device]) -> Replay:
        """Return a replay of the stages' lists; see `Passes`."""
        found = next((calls for lists, calls in self.bindings if lists is lowered), None)
        if found is None:
            found = bind(self.passes, lowered, devices)
            self.bindings.append((lowered, found))
        return Replay(found)

    @property
    def is_lent(self) -> bool:
        """Whether somebody still needs what the last call left."""
        return any(call() is not None for call in self.lent)
