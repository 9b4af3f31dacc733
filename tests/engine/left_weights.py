"""Makes every module leave its weights' gradients to W, as a core of this library does."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from torch import Tensor

from gru_parallel.schedule import Cell
from gru_parallel.stage.bidirectional_section import BidirectionalSection
from gru_parallel.stage.block_section import BlockSection
from gru_parallel.stage.ends import EncoderSection, HeadSection
from gru_parallel.stage.gradients import SectionGradients
from gru_parallel.stage.section import Parcel


def leave_all_weights(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Leave what B finds of the weights' gradients to W from now on.

    Returns:
        How many pieces of work were left, and how many of them done.
    """
    n_pieces: Counter[str] = Counter()
    cells: WeakKeyDictionary[SectionGradients, Cell] = WeakKeyDictionary()
    add = SectionGradients._add

    def leave(own: SectionGradients, found: Sequence[Tensor | None]) -> None:
        def work() -> None:
            n_pieces["done"] += 1
            add(own, found)

        n_pieces["left"] += 1
        own.leave(cells[own], work)

    monkeypatch.setattr(SectionGradients, "_add", leave)
    for section in (BlockSection, BidirectionalSection, EncoderSection, HeadSection):
        _note_cells(monkeypatch, section, cells)
    return n_pieces


def _note_cells(
    monkeypatch: pytest.MonkeyPatch, section: Any, cells: WeakKeyDictionary[SectionGradients, Cell]
) -> None:
    backward = section.backward

    def noting(own: Any, parcel: Parcel) -> list[Parcel]:
        for gradients in own.gradients:
            cells[gradients] = parcel.cell
        found: list[Parcel] = backward(own, parcel)
        return found

    monkeypatch.setattr(section, "backward", noting)
