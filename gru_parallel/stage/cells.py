"""How a batch is cut into cells: which rows and steps each one holds, known before the step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise, product, starmap

import torch
from torch import Tensor
from torch.nn import functional

from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import StackModel, Windows
from gru_parallel.model.ragged import BatchSizes, batch_sizes_of, longest_first
from gru_parallel.placement.grid import check_chunks
from gru_parallel.schedule import Cell

Rows = slice | Tensor
"""Rows of the batch: in a row, or by number where the batch had to be sorted."""

Index = tuple[Rows, slice] | tuple[Rows]
"""An index into a batch: rows and steps, or rows alone."""


def split_sizes(total: int, n_parts: int) -> list[int]:
    """Cut `total` into `n_parts` whole sizes that differ by one at most, the larger ones first."""
    size, extra = divmod(total, n_parts)
    return [size + 1] * extra + [size] * (n_parts - extra)


def split_work(lengths: Sequence[int], n_parts: int) -> list[int]:
    """Cut rows into `n_parts` groups whose lengths add up to about the same, none of them empty.

    Args:
        lengths: time steps of each row, the longest first.
        n_parts: number of groups, at most one per row.

    Returns:
        The number of rows of each group.
    """
    sums = list(accumulate(lengths))
    ends = [0]
    for part in range(1, n_parts):
        wanted = sums[-1] * part / n_parts
        # The end whose sum is nearest, with a row left for each group before and after it.
        possible = range(ends[-1] + 1, len(lengths) - (n_parts - part) + 1)
        ends.append(min(possible, key=lambda end: abs(sums[end - 1] - wanted)))
    return [stop - start for start, stop in pairwise([*ends, len(lengths)])]


def _slices(sizes: Sequence[int]) -> tuple[slice, ...]:
    bounds = accumulate(sizes, initial=0)
    return tuple(slice(start, stop) for start, stop in pairwise(bounds))


@dataclass(frozen=True)
class Cells:
    """The grid of one batch.

    Attributes:
        batch_size: rows of the batch.
        n_steps: time steps of its longest row.
        rows: the rows of each micro-batch, the longest first.
        steps: the time steps of each micro-batch's chunks; a chunk of short rows may have none.
        lengths: time steps of each micro-batch's rows; None where all have `n_steps`.
        n_decoding: the last steps, which are after the window; all of them are in the last chunk.
    """

    batch_size: int
    n_steps: int
    rows: tuple[Rows, ...]
    steps: tuple[tuple[slice, ...], ...]
    lengths: tuple[tuple[int, ...], ...] | None = None
    n_decoding: int = 0

    @classmethod
    def cut(
        cls,
        batch_size: int,
        n_steps: int,
        n_micro_batches: int,
        n_chunks: int,
        lengths: Tensor | None = None,
        n_decoding: int = 0,
    ) -> Cells:
        """Cut a batch of `batch_size` windows of `n_steps` steps.

        A batch smaller than `n_micro_batches` gets one micro-batch per row. Without lengths no
        cell is ever empty. With them, rows of like length go into one micro-batch, so that
        micro-batches mean the same work and chunks are of each micro-batch's own length; where that
        is less than `n_chunks`, the last chunks are empty.

        Args:
            batch_size: rows of the batch.
            n_steps: time steps of the batch.
            n_micro_batches: slices of the batch.
            n_chunks: slices of time.
            lengths: time steps of each row, whole numbers of shape (batch_size,); None where all
                are whole.
            n_decoding: the last of the steps that are after the window; with whole rows only.

        Raises:
            UsageError: the batch is empty, or n_chunks exceeds the steps of the window of whole
                rows.
            ShapeError: `lengths` has another shape or type, or one is not from 1 to n_steps.
        """
        if batch_size < 1:
            raise UsageError("A batch of 0 windows cannot be run; give at least one window.")
        n_parts = min(n_micro_batches, batch_size)
        if lengths is None:
            return _whole(batch_size, n_steps, n_parts, n_chunks, n_decoding)
        lengths = torch.as_tensor(lengths, device="cpu")
        check_lengths(lengths, batch_size, n_steps)
        order = longest_first(lengths)
        in_order: list[int] = lengths[order].tolist()
        parts = _slices(split_work(in_order, n_parts))
        return cls(
            batch_size,
            n_steps,
            tuple(order[part] for part in parts),
            tuple(_slices(split_sizes(in_order[part.start], n_chunks)) for part in parts),
            tuple(tuple(in_order[part]) for part in parts),
        )

    @cached_property
    def n_micro_batches(self) -> int:
        """Micro-batches that hold at least one row."""
        return len(self.rows)

    @cached_property
    def is_cut(self) -> bool:
        """Whether there is more than one cell."""
        return self.n_micro_batches * self.n_chunks > 1

    @cached_property
    def n_chunks(self) -> int:
        """Chunks of each micro-batch; 0 where there is none."""
        return len(self.steps[0]) if self.steps else 0

    def grid(self) -> Iterator[Cell]:
        """All cells, micro-batch by micro-batch."""
        return starmap(Cell, product(range(self.n_micro_batches), range(self.n_chunks)))

    def n_rows(self, micro_batch: int) -> int:
        """Rows of a micro-batch."""
        rows = self.rows[micro_batch]
        return int(rows.stop - rows.start) if isinstance(rows, slice) else len(rows)

    def batch_sizes(self, cell: Cell) -> BatchSizes:
        """Say how many rows run at each step of a cell."""
        micro_batch, chunk = cell
        steps = self.steps[micro_batch][chunk]
        n_steps = int(steps.stop - steps.start)
        if self.lengths is None:
            return [self.n_rows(micro_batch)] * n_steps
        return batch_sizes_of(self.lengths[micro_batch], n_steps, steps.start)

    def ragged_sizes(self, cell: Cell) -> BatchSizes | None:
        """Say how many rows run at each step of a cell; None where all that run do to its end."""
        if self.lengths is None:
            return None
        sizes = self.batch_sizes(cell)
        return None if sizes[-1] == sizes[0] else sizes

    def n_active(self, cell: Cell) -> int:
        """Rows that run in a cell, the first ones of their micro-batch; 0 if it is empty."""
        if self.lengths is None:
            return self.n_rows(cell.micro_batch)
        return next(iter(self.batch_sizes(cell)), 0)

    def n_decoding_in(self, cell: Cell) -> int:
        """Return how many of a cell's steps, its last ones, are after the window."""
        return self.n_decoding if cell.chunk == self.n_chunks - 1 else 0

    def ended(self, cell: Cell) -> tuple[int, int]:
        """Say which rows of the micro-batch end in a cell: from the first up to the second."""
        micro_batch, chunk = cell
        if self.lengths is None:
            return (0, self.n_rows(micro_batch)) if chunk == self.n_chunks - 1 else (0, 0)
        later = self.n_active(Cell(micro_batch, chunk + 1)) if chunk + 1 < self.n_chunks else 0
        return later, self.n_active(cell)

    def last_outputs(self, y: Tensor, cell: Cell) -> Tensor:
        """Take each ended row's last output: (time, rows, f) to (1, ended rows, f).

        Where there are steps after the window, it is the outputs of all of these. Where a cell has
        all that there is, it stays whole.
        """
        first, stop = self.ended(cell)
        if self.lengths is None:
            return y if self.n_chunks == 1 else y[-max(1, self.n_decoding) :]
        micro_batch, chunk = cell
        before = self.steps[micro_batch][chunk].start + 1
        steps = [length - before for length in self.lengths[micro_batch][first:stop]]
        return y[steps, list(range(first, stop))].unsqueeze(0)

    def in_batch(self, micro_batch: int, first: int, stop: int) -> Rows:
        """Name rows of a micro-batch as rows of the batch."""
        rows = self.rows[micro_batch]
        if isinstance(rows, slice):
            return slice(rows.start + first, rows.start + stop)
        return rows[first:stop]

    def index_of(self, cell: Cell) -> tuple[Rows, slice]:
        """Name the rows and steps of a cell in the batch."""
        micro_batch, chunk = cell
        return self.in_batch(micro_batch, 0, self.n_active(cell)), self.steps[micro_batch][chunk]

    def runs(self, cell: Cell) -> Tensor | None:
        """Mark the steps that rows have, shape (rows, time) of bools; None where they have all."""
        if self.lengths is None:
            return None
        sizes = torch.tensor(list(self.batch_sizes(cell)), dtype=torch.long, device="cpu")
        return torch.arange(self.n_active(cell), device="cpu").unsqueeze(1) < sizes

    def inputs(self, x: Tensor, cell: Cell) -> Tensor:
        """Return a cell of x, (batch, time, features), as (cell's time, cell's batch, features).

        What lies after a row's end comes as zero, even where it is NaN.
        """
        (rows, steps), runs = self.index_of(cell), self.runs(cell)
        piece = part_of(part_of(x, 0, rows), 1, steps)
        if runs is not None:
            piece = piece.masked_fill(~runs.unsqueeze(2).to(x.device), 0.0)
        return piece.transpose(0, 1).contiguous()

    def join(self, micro_batch: int, pieces: Sequence[Tensor]) -> Tensor:
        """Put a micro-batch's cells, (time, rows, f) each, together; zero after a row's end."""
        n_rows = self.n_rows(micro_batch)
        whole = [functional.pad(piece, (0, 0, 0, n_rows - piece.shape[1])) for piece in pieces]
        return torch.cat(whole)

    def split(self, micro_batch: int, whole: Tensor) -> list[Tensor]:
        """Take the cells of a micro-batch out of what `join` put together."""
        steps = self.steps[micro_batch]
        n_active = [self.n_active(Cell(micro_batch, chunk)) for chunk in range(self.n_chunks)]
        return [
            part_of(part_of(whole, 0, part), 1, slice(0, n))
            for part, n in zip(steps, n_active, strict=True)
        ]


@lru_cache(64)
def _whole(
    batch_size: int, n_steps: int, n_micro_batches: int, n_chunks: int, n_decoding: int
) -> Cells:
    """The cells of a batch of whole rows, of which each batch of an epoch has the same."""
    n_in_window = n_steps - n_decoding
    check_chunks(n_chunks, n_in_window)
    sizes = split_sizes(n_in_window, n_chunks)
    chunks = _slices([*sizes[:-1], sizes[-1] + n_decoding])
    rows = _slices(split_sizes(batch_size, n_micro_batches))
    parts = (chunks,) * n_micro_batches
    return Cells(batch_size, n_steps, rows, parts, n_decoding=n_decoding)


def over_the_batch(pieces: dict[Cell, Tensor], cells: Cells) -> Tensor:
    """Put cells, (time, rows, features) each, together; zero where a row has no step."""
    some = next(iter(pieces.values()))
    whole = some.new_zeros(cells.n_steps, cells.batch_size, some.shape[2])
    for cell, piece in pieces.items():
        whole.transpose(0, 1)[cells.index_of(cell)] = piece.transpose(0, 1)
    return whole


def part_of(tensor: Tensor, dim: int, part: Rows) -> Tensor:
    """Take a part of a tensor along one dimension, in B also where torch runs a vmap over it.

    Args:
        tensor: of a batch, or a gradient of that.
        dim: the dimension.
        part: which rows, steps or states.
    """
    if isinstance(part, slice):
        # Not by an index: one that takes all is an alias, which torch cannot vmap.
        return tensor.narrow(dim, part.start, part.stop - part.start)
    return tensor[(slice(None),) * dim + (part,)]


def check_lengths(lengths: Tensor, batch_size: int, n_steps: int) -> None:
    """Refuse lengths that do not fit a batch.

    Raises:
        ShapeError: the shape or type is another, or a length is not from 1 to n_steps.
    """
    if tuple(lengths.shape) != (batch_size,) or lengths.is_floating_point():
        raise ShapeError(
            f"lengths of shape {tuple(lengths.shape)} and type {lengths.dtype} do not fit a batch"
            f" of {batch_size}; give one whole number per row, shape ({batch_size},)."
        )
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < 1 or longest > n_steps:
        raise ShapeError(
            f"lengths from {shortest} to {longest} do not fit sequences of {n_steps} steps; use"
            f" lengths from 1 to {n_steps}."
        )


def check_windows(windows: Windows, model: StackModel, *, training: bool) -> None:
    """Refuse what does not go with the rows of a batch, as the cells of all of it are cut alike.

    Args:
        windows: as rows and steps, see `StackModel.rows_of`.
        model: that they are for.
        training: whether targets, and how much they count, are looked at.

    Raises:
        ShapeError: targets, weight or scale do not fit.
    """
    x, y, weight, scale = windows.x, windows.y, windows.weight, windows.scale
    head, n_dims = model.head, 2 if model.head.every_step else 1
    what = "row and step" if head.every_step else "row"
    if training and y is not None and y.shape[:n_dims] != x.shape[:n_dims]:
        raise ShapeError(
            f"Targets of shape {tuple(y.shape)} do not fit windows of shape {tuple(x.shape)}; give"
            f" one for each {what} of the batch."
        )
    if training and y is not None and weight is not None:
        cut_alike = weight.dim() >= n_dims and weight.shape[:n_dims] == y.shape[:n_dims]
        sizes = zip(weight.shape, y.shape, strict=False)
        if weight.dim() > y.dim() or not cut_alike or any(n not in (1, of_y) for n, of_y in sizes):
            raise ShapeError(
                f"A weight of shape {tuple(weight.shape)} does not fit targets of shape"
                f" {tuple(y.shape)}; give one for each row and step of the targets,"
                f" {tuple(y.shape[:2])}"
                + ("." if head.every_step else f", or for each row, ({len(y)},).")
            )
    if scale is not None:
        *shape, n_numbers = head.output_shape
        rest = (*shape, n_numbers // model.output.n_numbers)
        # Of all steps alike: the steps of a cell are not taken out of it.
        rest = (1, *rest) if head.every_step else rest
        sizes = zip(scale.shape, (len(x), *rest), strict=False)
        fits = scale.dim() == len(rest) + 1 and len(scale) == len(x)
        if not fits or any(n not in (1, wanted) for n, wanted in sizes):
            wanted = (len(x), *[1] * (len(rest) - 1), rest[-1])
            raise ShapeError(
                f"A scale of shape {tuple(scale.shape)} does not fit a batch of {len(x)} rows; give"
                f" one for each row and target, shape {wanted}."
            )
