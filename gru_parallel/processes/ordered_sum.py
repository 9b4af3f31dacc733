"""OrderedSum: a row of numbers, added up over replicas in the order of the replicas."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class OrderedSum:
    """The sum of the rows of all ranks of a group, on its way. Made by all of them, in one order.

    The bits of a sum depend on its terms alone. Those of an `all_reduce` over three ranks or more
    also depend on where in the row it stands, and so on what else is in the row: Gloo and NCCL add
    up in another order in each part of it.

    Each rank adds up a segment of all rows and gives it out, so that of D ranks each one sends and
    receives 2 (D - 1) / D times the bytes of a row, as in the `all_reduce` of a ring. It needs room
    for one row more. (To gather whole rows would take D - 1 times the bytes, and room for D rows.)

    Args:
        row: of this rank, shape (n,), n a multiple of the number of ranks; it becomes the sum.
        group: whose ranks have rows.
    """

    def __init__(self, row: Tensor, group: dist.ProcessGroup | None) -> None:
        self._row = row
        self._group = group
        self._n_ranks = dist.get_world_size(group)
        self._segments = torch.empty_like(row)
        self._work = _begun(dist.all_to_all_single(self._segments, row, group=group, async_op=True))

    def add(self) -> None:
        """Wait for this rank's segment of all rows, add it up, and begin to give it out."""
        self._work.wait()
        total, *others = self._segments.chunk(self._n_ranks)
        for segment in others:
            total.add_(segment)
        pieces = list(self._row.chunk(self._n_ranks))
        self._work = _begun(dist.all_gather(pieces, total, group=self._group, async_op=True))

    def wait(self) -> Tensor:
        """Wait for the segments that the others have added up; return the sum, shape (n,)."""
        self._work.wait()
        return self._row


def _begun(work: dist.Work | None) -> dist.Work:
    # None only on a rank that is not in the group.
    assert work is not None
    return work
