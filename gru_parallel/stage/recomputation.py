"""What is kept of a cell to run its F once more, with the same results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import get_device_states, set_device_states

from gru_parallel.stage.section import Parcel
from gru_parallel.stage.shelf import Shelf


@dataclass(frozen=True)
class Conditions:
    """What the numbers of F depend on beside its inputs.

    Attributes:
        kind: of the device that it runs on.
        asked: by autocast; None where it is off.
        generators: the states of torch's generators, of the CPU, and by their number of the other
            devices of the inputs; None where nothing draws from them.
    """

    kind: str
    asked: torch.dtype | None
    generators: tuple[Tensor, list[int], list[Tensor]] | None

    @classmethod
    def now(cls, x: Tensor, *, has_own_code: bool) -> Conditions:
        """Record them before F, in the thread that runs it.

        Args:
            x: inputs of F.
            has_own_code: whether code of the caller's own runs, which may draw random numbers.
        """
        kind = x.device.type
        generators = (torch.get_rng_state(), *get_device_states(x)) if has_own_code else None
        return cls(kind, _asked(kind), generators)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, F runs as it did before; what it draws is not missing afterwards."""
        with ExitStack() as stack:
            if self.asked != _asked(self.kind):
                is_on = self.asked is not None
                stack.enter_context(torch.autocast(self.kind, dtype=self.asked, enabled=is_on))
            if self.generators is not None:
                of_cpu, devices, states = self.generators
                kind = self.kind if devices else "cuda"
                stack.enter_context(torch.random.fork_rng(devices, device_type=kind))
                torch.set_rng_state(of_cpu)
                set_device_states(devices, states, device_type=kind)
            yield


@dataclass(frozen=True)
class Kept:
    """What is kept of a cell.

    Attributes:
        parcel: that came in.
        state: that entered each block; [] at the start of the sequences.
        conditions: under which F ran.
    """

    parcel: Parcel
    state: Sequence[Tensor]
    conditions: Conditions


class Keeper:
    """Keeps what F of the cells of a section needs.

    Args:
        has_own_code: whether code of the caller's own runs in the section.
    """

    def __init__(self, *, has_own_code: bool) -> None:
        self._has_own_code = has_own_code
        self._inputs = Shelf()
        self._states = Shelf()

    def keep(self, parcel: Parcel, state: Sequence[Tensor] = ()) -> Kept:
        """Keep a cell, before its F.

        Args:
            parcel: that comes in.
            state: that enters each block.
        """
        x = parcel.tensor
        assert x is not None
        if x.untyped_storage().nbytes() == x.nbytes:
            # Otherwise it is a part of the batch, say, which is there anyway.
            (x,) = self._inputs.keep([x])
        conditions = Conditions.now(x, has_own_code=self._has_own_code)
        return Kept(replace(parcel, tensor=x), self._states.keep(state), conditions)


def _asked(kind: str) -> torch.dtype | None:
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
