"""Section: a part of a stage that runs in one way. What goes from one to the next is a parcel.

A stage is a row of sections. What one gives out, the next takes in, cell by cell; at a
barrier in time, a section keeps cells until it can continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from gru_parallel.schedule import Cell
from gru_parallel.stage.gradients import SectionGradients


@dataclass(frozen=True)
class Parcel:
    """What goes from section to section, and from stage to stage, for one cell.

    Attributes:
        cell: which one.
        tensor: forward, outputs of shape (time, rows, features); backward, their gradient, or None
            where there is none.
        state: where the next block's h_0 is the h_n of the one before: forward, that h_n with the
            last chunk; backward, its gradient, with the last chunk too.
    """

    cell: Cell
    tensor: Tensor | None
    state: Tensor | None = None


class Section(Protocol):
    """A part of a stage, for one pass over one batch."""

    @property
    def gradients(self) -> Sequence[SectionGradients]:
        """Those of its parts, in the order of `StageModules.weights`."""
        ...

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Take a cell in; return the cells that can continue, in ascending order of chunks."""
        ...

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Take a cell's gradient in; return those that can continue, in descending order."""
        ...
