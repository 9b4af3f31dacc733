"""Shape: the size of a training step that is measured. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gru_parallel.errors import UsageError

N_STAGES = 2
"""Logical CPU devices of every pipeline that is measured."""


@dataclass(frozen=True)
class Shape:
    """The size of one training step.

    Attributes:
        hidden_size: features of the input and of every layer's output.
        batch_size: windows in the batch.
        n_steps: time steps of a window.
        num_layers: layers of the stack.
    """

    hidden_size: int
    batch_size: int
    n_steps: int
    num_layers: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read a shape as `--shape` gives it.

        Args:
            text: H,B,T,L: hidden size, batch size, time steps, layers; as in 128,32,96,4.

        Returns:
            The shape.

        Raises:
            UsageError: `text` is not four positive whole numbers, or has fewer layers than stages.
        """
        parts = text.split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            raise UsageError(
                f"--shape {text} is not H,B,T,L, four whole numbers; write --shape 128,32,96,4."
            )
        shape = cls(*(int(part) for part in parts))
        if min(shape.hidden_size, shape.batch_size, shape.n_steps, shape.num_layers) < 1:
            raise UsageError(f"--shape {text} has a size of zero; sizes start at 1.")
        if shape.num_layers < N_STAGES:
            raise UsageError(
                f"--shape {text} has fewer layers than the {N_STAGES} stages; use L >= {N_STAGES}."
            )
        return shape

    @property
    def option(self) -> str:
        """The text that `parse` reads."""
        return f"{self.hidden_size},{self.batch_size},{self.n_steps},{self.num_layers}"

    def __str__(self) -> str:
        return f"H={self.hidden_size}, B={self.batch_size}, T={self.n_steps}, L={self.num_layers}"
