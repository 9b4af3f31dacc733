"""Section: a part of a stage that runs in one way; and the section of the encoder.

A stage is a row of sections. What one gives out, the next takes in, cell by cell; where a barrier
in time stands, a section keeps cells until it can go on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gru_parallel.model import DropoutKey
from gru_parallel.schedule import Cell
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.gradient_sums import GradientSums
from gru_parallel.stage.lane import Lane
from gru_parallel.stage.own_code import refuse_foreign_leaf


@dataclass(frozen=True)
class Parcel:
    """What goes from section to section, and from stage to stage, for one cell.

    Attributes:
        chunk: of the cell; its micro-batch is known.
        tensor: forward, outputs of shape (time, rows, features); backward, their gradient, or None
            where there is none.
        state: where the next block's h_0 is the h_n of the one before: forward, that h_n with the
            last chunk; backward, its gradient, with the last chunk too.
    """

    chunk: int
    tensor: Tensor | None
    state: Tensor | None = None


@dataclass(frozen=True)
class PassSetting:
    """What all sections of a stage need to know of the batch and of the pass over it.

    Attributes:
        cells: how the batch is cut.
        lane: of the stage.
        seed: of the run, for dropout.
        step: number of batches trained on before, for dropout.
        truncate: chunks of a segment, at whose start gradients of the state end; None for none.
        keep: whether B leaves in place what F saved, for a second B.
        first_micro_batch: number of the first micro-batch in the whole batch, for dropout.
    """

    cells: Cells
    lane: Lane
    seed: int = 0
    step: int = 0
    truncate: int | None = None
    keep: bool = False
    first_micro_batch: int = 0

    def dropout_key(self, cell: Cell) -> DropoutKey:
        """Name the random numbers of a cell."""
        micro_batch, chunk = cell
        return DropoutKey(self.seed, self.step, self.first_micro_batch + micro_batch, chunk)

    def begins_segment(self, chunk: int) -> bool:
        """Whether no gradient of the state flows from this chunk into the one before."""
        return chunk == 0 or (self.truncate is not None and chunk % self.truncate == 0)


class Section(ABC):
    """A part of a stage, for one pass over one batch.

    Args:
        setting: of the pass.
        weights: what the section is trained by.

    Attributes:
        gradients: of the weights, added up.
    """

    def __init__(self, setting: PassSetting, weights: Sequence[Tensor]) -> None:
        self.setting = setting
        self.gradients = GradientSums(weights)

    def weight_gradients(self) -> list[Tensor | None]:
        """Return the gradient of each weight, in their order; None where nothing was found."""
        return self.gradients.of_all_weights()

    def forget_gradients(self) -> None:
        """Begin to add gradients up anew."""
        self.gradients.clear()

    @abstractmethod
    def forward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Take a cell in; return the cells that can go on, in ascending order of chunks."""

    @abstractmethod
    def backward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Take a cell's gradient in; return those that can go on, in descending order."""

    def check_leaves(self, what: str, root: Tensor, inputs: Sequence[Tensor]) -> None:
        """Refuse a graph with a leaf that B would not know."""
        refuse_foreign_leaf(what, root, self.gradients.trained, inputs)

    def differentiate(
        self,
        roots: Sequence[Tensor | None],
        root_gradients: Sequence[Tensor | None],
        sources: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """Back-propagate from `roots`: add up what reaches the weights; return the sources' share.

        Args:
            roots: results of F; None, and what needs no gradient, is left out.
            root_gradients: one for each root; a root without one is left out, but for a scalar,
                whose own gradient is 1.
            sources: inputs of F.

        Returns:
            A gradient for each source, None where nothing depends on it.
        """
        pairs = [
            (root, gradient)
            for root, gradient in zip(roots, root_gradients, strict=True)
            if root is not None and root.requires_grad and (gradient is not None or root.dim() == 0)
        ]
        if not pairs:
            return [None for _ in sources]
        # As in plain training, autocast chooses the types of F only; B follows what F did.
        with torch.autocast(self.setting.lane.device.type, enabled=False):
            found = torch.autograd.grad(
                [root for root, _ in pairs],
                [*sources, *self.gradients.trained],
                [gradient for _, gradient in pairs],
                retain_graph=self.setting.keep,
                allow_unused=True,
            )
        self.gradients.add(found[len(sources) :])
        return list(found[: len(sources)])


def leaf(tensor: Tensor) -> Tensor:
    """Cut `tensor` off from what made it; where gradients are recorded, a new graph begins here."""
    return tensor.detach().requires_grad_(torch.is_grad_enabled())


class EncoderSection(Section):
    """The encoder, at the beginning of the first stage.

    Args:
        setting: of the pass.
        encoder: works on each step of each row alone.
        wants_dx: whether the gradient of x is wanted.
    """

    def __init__(self, setting: PassSetting, encoder: nn.Module, *, wants_dx: bool) -> None:
        super().__init__(setting, list(encoder.parameters()))
        self._encoder = encoder
        self._wants_dx = wants_dx
        self._saved: dict[Cell, tuple[Tensor, Tensor]] = {}

    def forward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Encode a cell."""
        assert parcel.tensor is not None
        x = leaf(parcel.tensor) if self._wants_dx else parcel.tensor
        # A leaf itself could not be changed in place.
        y: Tensor = self._encoder(x.clone() if self._wants_dx else x)
        if y.requires_grad:
            self._saved[Cell(micro_batch, parcel.chunk)] = x, y
            self.check_leaves("The encoder", y, [x])
        return [Parcel(parcel.chunk, y.detach())]

    def backward(self, micro_batch: int, parcel: Parcel) -> list[Parcel]:
        """Find the weights' gradient and, where it is wanted, that of x."""
        x, y = self._saved.pop(Cell(micro_batch, parcel.chunk), (None, None))
        if parcel.tensor is None or x is None:
            return []
        if not self._wants_dx:
            self.differentiate([y], [parcel.tensor], [])
            return []
        (dx,) = self.differentiate([y], [parcel.tensor], [x])
        return [Parcel(parcel.chunk, dx)]
