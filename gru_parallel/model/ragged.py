"""Sequences that end at different steps, in batches without padding.

Rows are sorted, the longest first, so that those still running are always the first ones. As in
`PackedSequence`, a batch is described by the number of rows at each step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

BatchSizes = Sequence[int]
"""The number of rows at each step; never more than at the step before."""


def longest_first(lengths: Tensor) -> Tensor:
    """Return the rows by their lengths, the longest first; equal ones keep their order."""
    return torch.sort(lengths, descending=True, stable=True).indices


def batch_sizes_of(lengths: Sequence[int], n_steps: int, first_step: int = 0) -> tuple[int, ...]:
    """Count the rows that run at each step.

    Args:
        lengths: time steps of each row, the longest first.
        n_steps: number of steps.
        first_step: the first of them.

    Returns:
        The number of rows at each step until there are none: at most `n_steps` numbers.
    """
    n_rows = len(lengths)
    sizes: list[int] = []
    for step in range(first_step, first_step + n_steps):
        while n_rows > 0 and lengths[n_rows - 1] <= step:
            n_rows -= 1
        if n_rows == 0:
            break
        sizes.append(n_rows)
    return tuple(sizes)


def segments(batch_sizes: BatchSizes) -> Iterator[tuple[int, int]]:
    """Group steps of equally many rows: yields (number of steps, number of rows) of each run."""
    for n_rows, steps in groupby(batch_sizes):
        yield len(list(steps)), n_rows


def reverse_time(x: Tensor, batch_sizes: BatchSizes | None = None) -> Tensor:
    """Reverse each row within its length; what is after a row's end stays where it is.

    Args:
        x: shape (time, batch, features).
        batch_sizes: rows at each step; None if all rows run at all steps.

    Returns:
        A tensor of the shape of `x`; reversed twice, it is `x` again.
    """
    if batch_sizes is None:
        return x.flip(0)
    reversed_x: Tensor = _Reverse.apply(x, _sources(x, batch_sizes))  # type: ignore[no-untyped-call]
    return reversed_x


def zero_after_the_end(predictions: Tensor, runs: Tensor) -> Tensor:
    """Return predictions at every step that are zero where a row has ended.

    Args:
        predictions: shape (rows, time, ...).
        runs: which steps each row has, shape (rows, time), of bools.
    """
    further = [1] * (predictions.dim() - 2)
    return predictions * runs.reshape(*runs.shape, *further).to(predictions)


def padded_to(predictions: Tensor, n_steps: int) -> Tensor:
    """Return predictions at every step, (rows, time, ...), with zeros up to `n_steps`."""
    further = [0, 0] * (predictions.dim() - 2)
    return functional.pad(predictions, (*further, 0, n_steps - predictions.shape[1]))


def _sources(x: Tensor, batch_sizes: BatchSizes) -> Tensor:
    """For each step and row, the step that it takes; shape (time, batch, 1)."""
    sizes = torch.tensor(list(batch_sizes), device="cpu").unsqueeze(1)
    runs = torch.arange(x.shape[1], device="cpu") < sizes
    steps = torch.arange(x.shape[0], device="cpu").unsqueeze(1)
    sources = torch.where(runs, runs.sum(0) - 1 - steps, steps)
    return sources.unsqueeze(2).to(x.device)


class _Reverse(torch.autograd.Function):
    """A permutation that is its own inverse, and so its own gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sources: Tensor) -> Tensor:
        ctx.sources = sources
        return x.gather(0, sources.expand_as(x))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = grad_outputs
        return gradient.gather(0, ctx.sources.expand_as(gradient)), None
