"""What `verify` compares: sizes, lengths, precision, devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Annotated

from gru_parallel.rules import SEED, Count, Rule, one_of

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""The promise: how far apart results may be, relative to the largest entry."""


Lengths = Annotated[
    list[int],
    Rule(
        "is not a list of lengths; give whole numbers of at least 1, as in lengths=[12,7,3].",
        lambda v: len(v) > 0 and min(v) >= 1,
    ),
]


@dataclass(frozen=True)
class Settings:
    """The overrides of `python -m gru_parallel.verify`.

    Attributes:
        num_layers: layers of the nn.GRU that is cut.
        hidden_size: features of each layer.
        lengths: time steps of the sequences, repeated until there are `batch_size`.
        batch_size: sequences of a batch.
        dtype: float64 or float32.
        devices: to place stages on, in this order; None for logical CPU devices, and then the
            accelerators, if there are any.
        seed: of weights, sequences and states.
    """

    num_layers: Annotated[int, Rule("cannot be cut; use 2 or more.", lambda v: v >= 2)] = 4
    hidden_size: Count = 16
    lengths: Lengths = field(default_factory=lambda: [12, 7, 3])
    batch_size: Count = 5
    dtype: Annotated[str, one_of(*TOLERANCE)] = "float64"
    devices: list[str] | None = None
    seed: Annotated[int, SEED] = 0

    @property
    def tolerance(self) -> float:
        """How far apart results may be that should be equal."""
        return TOLERANCE[self.dtype]

    @property
    def n_steps(self) -> int:
        """Time steps of the longest sequence."""
        return max(self.lengths_of_rows)

    @property
    def lengths_of_rows(self) -> tuple[int, ...]:
        """Time steps of each sequence of the batch."""
        return tuple(islice(cycle(self.lengths), self.batch_size))
