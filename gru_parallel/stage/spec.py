"""PassSpec: what all stages need to know of a batch and of the pass over it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gru_parallel.model import Output, SumLoss
from gru_parallel.model.dropout import Masks
from gru_parallel.model.loss import POINT
from gru_parallel.model.windows import Windows
from gru_parallel.schedule import Segments
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.loss_numbers import LossNumbers


class Purpose(Enum):
    """What a pass is for; the value names the states that `carry` has of it."""

    TRAIN = "training"
    """F and B, from the loss back."""

    PREDICT = "prediction"
    """F alone."""

    CHECK = "check"
    """F of the last training batch again, from where that began, to see what is not finite."""

    DIFFERENTIATE = "differentiation"
    """F now, and B later from gradients that come from outside, as often as they come."""


@dataclass(frozen=True)
class PassSpec:
    """One pass over one batch, as every stage and every section of it sees it.

    Attributes:
        purpose: what the pass is for.
        windows: the batch, cut off from whatever history its tensors have.
        cells: how it is cut.
        segments: where back-propagation through time is cut.
        loss: what is minimised; None but in training.
        output: what the numbers of the head mean.
        n_elements: what the loss is divided by.
        loss_scale: what B multiplies gradients by, so that small ones are not 0 in float16.
        seed: of the run, for dropout.
        step: number of batches trained on before, for dropout.
        first_micro_batch: number of the first micro-batch in the whole batch, for dropout.
        wants_dx: whether the gradient of x is wanted.
        wants_dy: whether the gradient of y is wanted.
        separates_weights: whether W comes after B; otherwise B works out the weights' gradients.
        recompute: whether B of a cell runs its F again, of which only what came in is kept.
        masks: of dropout, collected while the pass is recorded; None where it is not.
        numbers: `n_elements` and `loss_scale` where the pass is recorded; None where it is not.
    """

    purpose: Purpose
    windows: Windows
    cells: Cells
    segments: Segments
    loss: SumLoss | None = None
    n_elements: int = 0
    output: Output = POINT
    loss_scale: float = 1.0
    seed: int = 0
    step: int = 0
    first_micro_batch: int = 0
    wants_dx: bool = False
    wants_dy: bool = False
    separates_weights: bool = False
    recompute: bool = False
    masks: Masks | None = None
    numbers: LossNumbers | None = None
