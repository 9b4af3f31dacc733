"""RecomputedSection: blocks that keep of a cell what came in, and run its F again for its B."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import torch

from gru_parallel.schedule import Cell
from gru_parallel.stage.bidirectional_section import BidirectionalSection
from gru_parallel.stage.block_section import BlockSection
from gru_parallel.stage.ends import EncoderSection, HeadSection
from gru_parallel.stage.recomputation import Keeper, Kept
from gru_parallel.stage.section import Parcel, Section
from gru_parallel.stage.spec import PassSpec, Purpose


class RecomputedSection:
    """Blocks chunk by chunk, with encoder and head where these stand beside them.

    F lets go of its graph and of all that lies between, so of the outputs of the encoder and, in
    training, those of the blocks. B runs it again, and then back-propagates. The first time F runs
    with a graph, too: where nothing is recorded, a core may take a way with other bits.

    Args:
        spec: of the pass.
        blocks: what runs.
        encoder: before them.
        head: after them; it draws no random numbers.
    """

    def __init__(
        self,
        spec: PassSpec,
        blocks: BlockSection,
        encoder: EncoderSection | None = None,
        head: HeadSection | None = None,
    ) -> None:
        self._blocks = blocks
        self._encoder = encoder
        self._head = head
        parts = (encoder, blocks, head)
        self._inner = [part for part in parts if part is not None]
        self.gradients = tuple(chain.from_iterable(each.gradients for each in self._inner))
        self._stays = spec.purpose is Purpose.DIFFERENTIATE
        self._keeper = Keeper(has_own_code=blocks.has_own_code)
        self._kept: dict[Cell, Kept] = {}

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Run F on a cell, and keep what it needs."""
        cell = parcel.cell
        if torch.is_grad_enabled():
            self._kept[cell] = self._keeper.keep(parcel, self._blocks.state(cell.micro_batch))
        parcels = [parcel]
        for section in self._inner:
            parcels = [out for each in parcels for out in section.forward(each)]
            section.forget(cell)
        return parcels

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Run F on a cell again, and B."""
        cell = parcel.cell
        kept = self._kept[cell] if self._stays else self._kept.pop(cell)
        with kept.conditions.again():
            (x,) = [kept.parcel] if self._encoder is None else self._encoder.forward(kept.parcel)
            (y,) = self._blocks.again(x, kept.state)
            if self._head is not None:
                self._head.again(y)
        parcels = [parcel]
        for section in reversed(self._inner):
            parcels = [out for each in parcels for out in section.backward(each)]
        return parcels


class RecomputedSequences:
    """A bidirectional block: what is kept, and run again, is whole sequences of a micro-batch.

    F keeps their inputs and the state that entered. B runs all of the block's layers again.

    Args:
        spec: of the pass.
        block: what runs.
    """

    def __init__(self, spec: PassSpec, block: BidirectionalSection) -> None:
        self.gradients = block.gradients
        self._block = block
        self._stays = spec.purpose is Purpose.DIFFERENTIATE
        self._keeper = Keeper(has_own_code=block.has_own_code)
        self._kept: dict[int, list[Kept]] = defaultdict(list)

    def forward(self, parcel: Parcel) -> list[Parcel]:
        """Keep a cell; with the last chunk, run F on the whole sequences."""
        micro_batch = parcel.cell.micro_batch
        if torch.is_grad_enabled():
            self._kept[micro_batch].append(self._keeper.keep(parcel))
        parcels = self._block.forward(parcel)
        self._block.forget(micro_batch)
        return parcels

    def backward(self, parcel: Parcel) -> list[Parcel]:
        """Keep a cell's gradient; with the first chunk, run F on the sequences again, and B."""
        micro_batch, chunk = parcel.cell
        if chunk == 0:
            cells = self._kept[micro_batch] if self._stays else self._kept.pop(micro_batch)
            # The last one is the one that makes F run.
            with cells[-1].conditions.again():
                self._block.again([kept.parcel for kept in cells])
        return self._block.backward(parcel)


def recomputed(spec: PassSpec, sections: Sequence[Section]) -> list[Section]:
    """Have the blocks of a stage run F again, each with the encoder and the head beside it.

    An encoder or a head that stands alone would keep as much as without.
    """
    made: dict[Section, Section] = {}
    within: set[Section] = set()
    neighbours = zip([None, *sections], sections, [*sections[1:], None], strict=False)
    for before, section, after in neighbours:
        if isinstance(section, BidirectionalSection):
            made[section] = RecomputedSequences(spec, section)
        elif isinstance(section, BlockSection):
            encoder = before if isinstance(before, EncoderSection) else None
            head = after if isinstance(after, HeadSection) and after.can_repeat else None
            made[section] = RecomputedSection(spec, section, encoder, head)
            within |= {part for part in (encoder, head) if part is not None}
    return [made.get(each, each) for each in sections if each not in within]
