"""What `verify` compares: sizes, lengths, precision, devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle, islice

from gru_parallel.errors import UsageError, check_positive

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""The promise: how far apart results may be, relative to the largest entry."""


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

    num_layers: int = 4
    hidden_size: int = 16
    lengths: list[int] = field(default_factory=lambda: [12, 7, 3])
    batch_size: int = 5
    dtype: str = "float64"
    devices: list[str] | None = None
    seed: int = 0

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

    def check(self) -> None:
        """Check the settings.

        Raises:
            UsageError: a number is too small, or the dtype is unknown.
        """
        if self.num_layers < 2:
            raise UsageError(f"num_layers={self.num_layers} cannot be cut; use 2 or more.")
        for name in ("hidden_size", "batch_size"):
            check_positive(name, getattr(self, name))
        if not self.lengths or min(self.lengths) < 1:
            raise UsageError(
                f"lengths={_show(self.lengths)} is not a list of lengths; give whole numbers of at"
                " least 1, as in lengths=[12,7,3]."
            )
        if self.dtype not in TOLERANCE:
            choices = ", ".join(TOLERANCE)
            raise UsageError(f"dtype={self.dtype} is not a valid choice; use one of {choices}.")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed={self.seed} is not a valid seed; use 0 to {2**32 - 1}.")


def _show(values: list[int]) -> str:
    return f"[{','.join(map(str, values))}]"
