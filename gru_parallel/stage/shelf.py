"""Shelf: memory on a CPU for copies of tensors that are kept while others come and go."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

AT_ONCE = 8
"""Calls for which one piece of memory is made."""

ALIGNED_BYTES = 64
"""Where torch begins a tensor on a CPU: at a multiple of so many bytes."""


class Shelf:
    """Puts what is kept of many cells side by side.

    It is made between large tensors that are let go of. Left where it was made, it would break up
    the heap into holes that are too small for the large tensors of the next cell: with 100 chunks a
    process had three times the memory of all its tensors.
    """

    def __init__(self) -> None:
        self._rest = torch.empty(0)

    def keep(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return copies of tensors of one type, all on a CPU; what is elsewhere stays as it is."""
        if not tensors or tensors[0].device.type != "cpu":
            return list(tensors)
        # As memory of their own would begin: products depend on that in their last bits.
        step = ALIGNED_BYTES // tensors[0].element_size()
        sizes = [-(-tensor.numel() // step) * step for tensor in tensors]
        if self._rest.dtype != tensors[0].dtype or self._rest.numel() < sum(sizes):
            self._rest = tensors[0].new_empty(AT_ONCE * sum(sizes))
        *places, self._rest = self._rest.split([*sizes, self._rest.numel() - sum(sizes)])
        pairs = zip(places, tensors, strict=True)
        return [place[: t.numel()].view(t.shape).copy_(t) for place, t in pairs]
