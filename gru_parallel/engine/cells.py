"""How a batch is cut into cells: which rows and steps each one holds, known before the step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

from torch import Tensor

from gru_parallel.errors import UsageError


def split_sizes(total: int, n_parts: int) -> list[int]:
    """Cut `total` into `n_parts` whole sizes that differ by one at most, the larger ones first."""
    size, extra = divmod(total, n_parts)
    return [size + 1] * extra + [size] * (n_parts - extra)


def _slices(total: int, n_parts: int) -> tuple[slice, ...]:
    bounds = accumulate(split_sizes(total, n_parts), initial=0)
    return tuple(slice(start, stop) for start, stop in pairwise(bounds))


@dataclass(frozen=True)
class Cells:
    """The grid of one batch.

    Attributes:
        rows: the rows of each micro-batch.
        steps: the time steps of each chunk.
    """

    rows: tuple[slice, ...]
    steps: tuple[slice, ...]

    @classmethod
    def cut(cls, batch_size: int, n_steps: int, n_micro_batches: int, n_chunks: int) -> Cells:
        """Cut a batch of `batch_size` windows of `n_steps` steps.

        A batch smaller than `n_micro_batches` gets a micro-batch a row; no cell is ever empty.

        Raises:
            UsageError: the batch is empty, or n_chunks exceeds n_steps.
        """
        if batch_size < 1:
            raise UsageError("A batch of 0 windows cannot be run; give at least one window.")
        if n_chunks > n_steps:
            raise UsageError(
                f"schedule.n_chunks={n_chunks} exceeds the {n_steps} time steps of the sequence;"
                f" use schedule.n_chunks <= {n_steps}."
            )
        return cls(
            _slices(batch_size, min(n_micro_batches, batch_size)), _slices(n_steps, n_chunks)
        )

    @property
    def n_micro_batches(self) -> int:
        """Micro-batches that hold at least one row."""
        return len(self.rows)

    @property
    def n_chunks(self) -> int:
        """Chunks of each micro-batch."""
        return len(self.steps)

    def inputs(self, x: Tensor, micro_batch: int, chunk: int) -> Tensor:
        """Return a cell of x, (batch, time, features), as (cell's time, cell's batch, features)."""
        return x[self.rows[micro_batch], self.steps[chunk]].transpose(0, 1).contiguous()

    def targets(self, y: Tensor, micro_batch: int, chunk: int, *, every_step: bool) -> Tensor:
        """Return a cell's targets from y, (batch, ...), or (batch, time, ...) where every_step."""
        rows = y[self.rows[micro_batch]]
        return rows[:, self.steps[chunk]] if every_step else rows
