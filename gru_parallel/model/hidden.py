"""Where each block's h_0 comes from: the policies of `model.h_0`.

Shapes are those of a block and some rows of the batch: (n_states, batch, hidden_size).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gru_parallel.errors import ShapeError
from gru_parallel.model.block import Block


@dataclass(frozen=True)
class Start:
    """What the blocks of a stack may start a batch from, in the layout of `nn.GRU`'s h_n.

    Attributes:
        h_0: for `given`, shape (n_states, batch, hidden_size) over all blocks; None for zeros.
        carried: for `carry`, the h_n of the batch before, which may have had more or fewer rows;
            None before the first.
        reset: for `carry`, which rows start from zeros instead, shape (batch,), of bools.
    """

    h_0: Tensor | None = None
    carried: Tensor | None = None
    reset: Tensor | None = None

    def of(self, states: slice, rows: slice | Tensor) -> Start:
        """Return what some of the states and some rows of the batch start from."""
        return Start(
            None if self.h_0 is None else self.h_0[states, rows],
            None if self.carried is None else self.carried[states, rows],
        )

    def check(self, n_states: int, batch_size: int, hidden_size: int) -> None:
        """Check that shapes and types fit a stack and a batch.

        Raises:
            ShapeError: h_0 or reset has another shape or type.
        """
        h_0, reset = self.h_0, self.reset
        if h_0 is not None and tuple(h_0.shape) != (n_states, batch_size, hidden_size):
            raise ShapeError(
                f"h_0 of shape {tuple(h_0.shape)} does not fit; use ({n_states}, batch,"
                f" {hidden_size}): one state per layer and direction, of {batch_size} rows."
            )
        if reset is None:
            return
        if tuple(reset.shape) != (batch_size,) or reset.dtype != torch.bool:
            raise ShapeError(
                f"reset of shape {tuple(reset.shape)} and type {reset.dtype} does not fit a batch"
                f" of {batch_size}; give one bool per row, shape ({batch_size},)."
            )

    def for_rows(self, batch_size: int) -> Start:
        """Give `carried` the rows of this batch, zero where they are reset.

        Raises:
            ShapeError: a row has no state to continue from and is not reset.
        """
        carried, reset = self.carried, self.reset
        if carried is None:
            return self
        n_known = min(batch_size, carried.shape[1])
        if n_known < batch_size and (reset is None or not reset[n_known:].all()):
            raise ShapeError(
                f"a batch of {batch_size} rows follows one of {carried.shape[1]}, and rows from"
                f" {n_known} on are not reset; with model.h_0=carry give reset=True for new rows."
            )
        rows = functional.pad(carried[:, :n_known].detach(), (0, 0, 0, batch_size - n_known))
        if reset is not None:
            rows = rows.masked_fill(reset.to(rows.device)[None, :, None], 0.0)
        return Start(self.h_0, rows)


def entering(block: Block, batch_size: int, start: Start, previous: Tensor | None) -> Tensor:
    """Return the initial state of `block` for its sequence, by the block's policy.

    Args:
        block: the block.
        batch_size: rows.
        start: the block's share of the batch's.
        previous: h_n of the block before; None for the first block.
    """
    match block.h_0:
        case "given":
            return given(block, batch_size, start.h_0)
        case "learned":
            return learned(block, batch_size)
        case "carry":
            return carry(block, batch_size, start.carried)
        case "previous":
            # The hand-over from an encoder to a decoder, through which gradients flow: a different
            # model from one nn.GRU, and a barrier in time.
            assert previous is not None
            return previous
        case _:
            return zeros(block, batch_size)


def zeros(block: Block, batch_size: int) -> Tensor:
    """Start from zeros, whatever h_0 is given.

    A stack whose blocks all do so equals one `nn.GRU` called without h_0. One in which only some
    do equals one `nn.GRU` whose h_0 is zero in their layers.
    """
    weight = block.some_weight
    shape = (block.n_states, batch_size, block.hidden_size)
    return torch.zeros(shape, device=weight.device, dtype=weight.dtype)


def given(block: Block, batch_size: int, h_0: Tensor | None) -> Tensor:
    """Start from the block's share of the batch's h_0; from zeros if it has none.

    Equals one `nn.GRU` called with the same h_0.
    """
    return zeros(block, batch_size) if h_0 is None else h_0


def learned(block: Block, batch_size: int) -> Tensor:
    """Start from a trained state, the same for every row; it is zeros before training.

    Equals one `nn.GRU` whose h_0 is a parameter, expanded over the batch.
    """
    states = torch.stack([getattr(block, name) for name in block.learned_names])
    return states.unsqueeze(1).expand(-1, batch_size, -1)


def carry(block: Block, batch_size: int, carried: Tensor | None) -> Tensor:
    """Start where the row of the same number ended in the batch before, or from zeros if reset.

    Stateful training: no gradient flows back into the batch before. Equals one `nn.GRU` that is
    called with its last h_n, detached. If a batch has fewer rows than the one before, they are the
    first ones; new rows have to be reset.
    """
    state = zeros(block, batch_size)
    return state if carried is None else carried.to(state)
