"""Windows: one batch, as a call of an engine takes it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """One batch of windows, and what goes with them.

    Attributes:
        x: what goes in, shape (batch, time, n_channels).
        y: targets, batch first, as the loss wants them; None where only predictions are wanted.
        lengths: time steps of each window, whole numbers of shape (batch,); None where all are
            whole. What lies after a window's end is never read.
        h_0: what blocks whose policy is `given` start from, (n_states, batch, hidden_size); None
            for zeros.
        reset: which rows start from zeros instead of where the batch before ended, shape (batch,),
            of bools; for blocks whose policy is `carry`.
        scale: what predictions are multiplied by before they are compared with y, or given out,
            shape (batch, 1, n_targets); None for nothing.
        future: what is known ahead of the rows after the window, (batch, horizon, n_known): the
            last columns of x, continued; None where nothing is.
        static: what is the same in all rows of a series, shape (batch, n_static); None for nothing.
        weight: how much the loss of each row and step of y counts, shape (batch, time), or, where
            there is no target for each step of x, of each row, shape (batch,); None where all count
            alike.
    """

    x: Tensor
    y: Tensor | None = None
    lengths: Tensor | None = None
    h_0: Tensor | None = None
    reset: Tensor | None = None
    scale: Tensor | None = None
    future: Tensor | None = None
    static: Tensor | None = None
    weight: Tensor | None = None
