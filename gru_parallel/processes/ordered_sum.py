"""OrderedSum: numbers added up over replicas in the order of the replicas."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


class OrderedSum:
    """The sum of the rows of all ranks of a group, being computed. All of them make it together.

    The bits of a sum depend on its terms alone. Those of an `all_reduce` over three ranks or more
    also depend on its position in the row, and so on what else is in the row: Gloo and NCCL add up
    each part of it in another order.

    Each rank adds up one part of all rows and sends the sum to all others, so that each of D ranks
    sends and receives 2 (D - 1) / D times the bytes of a row, as in a ring `all_reduce`, and needs
    memory for one more row. (To gather whole rows would take D - 1 times the bytes, and D rows.)

    Args:
        row: of this rank, shape (n,), n a multiple of the number of ranks; it becomes the sum.
        group: whose ranks have rows.
    """

    def __init__(self, row: Tensor, group: dist.ProcessGroup | None) -> None:
        self._row = row
        self._group = group
        self._n_ranks = dist.get_world_size(group)
        self._parts = torch.empty_like(row)
        self._work = _begun(dist.all_to_all_single(self._parts, row, group=group, async_op=True))

    def add(self) -> None:
        """Wait for this rank's part of all rows, add it up, and begin to send the sum."""
        self._work.wait()
        total, *others = self._parts.chunk(self._n_ranks)
        for part in others:
            total.add_(part)
        pieces = list(self._row.chunk(self._n_ranks))
        self._work = _begun(dist.all_gather(pieces, total, group=self._group, async_op=True))

    def wait(self) -> Tensor:
        """Wait for the parts that the other ranks added up; return the sum, shape (n,)."""
        self._work.wait()
        return self._row


def _begun(work: dist.Work | None) -> dist.Work:
    # None only on a rank that is not in the group.
    assert work is not None
    return work
