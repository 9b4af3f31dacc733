"""WaitingSection: blocks that start from the h_n of the block before, which comes with its end."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from gru_parallel.stage.block_section import BlockSection
from gru_parallel.stage.section import Parcel, Section


class WaitingSection:
    """Blocks of which the first starts from the h_n of the block before: a barrier in time.

    It takes in all chunks of a micro-batch before it runs the first, since h_n comes with the last;
    and gives out no gradient before it has them all, since that of h_n comes with the first chunk.

    Args:
        blocks: which they are.
        inner: what runs them chunk by chunk, once they can.
    """

    def __init__(self, blocks: BlockSection, inner: Section) -> None:
        self.gradients = inner.gradients
        self._blocks = blocks
        self._inner = inner
        self._inputs: dict[int, list[Parcel]] = defaultdict(list)
        self._gradients: dict[int, list[Parcel]] = defaultdict(list)

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Keep a cell; with the last chunk, run F on all."""
        micro_batch, chunk = parcel.cell
        self._inputs[micro_batch].append(parcel)
        if chunk < self._blocks.spec.cells.n_chunks - 1:
            return []
        assert parcel.state is not None
        self._blocks.start_from(micro_batch, parcel.state)
        kept = self._inputs.pop(micro_batch)
        return [out for waiting in kept for out in self._inner.forward(waiting)]

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Run B on a cell and keep its result; with the first chunk, give all of them out."""
        micro_batch, chunk = parcel.cell
        self._gradients[micro_batch] += self._inner.backward(parcel)
        if chunk > 0:
            return []
        first, *others = self._gradients.pop(micro_batch)
        return [replace(first, state=self._blocks.states.dh_0[micro_batch][0]), *others]
