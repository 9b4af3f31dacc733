"""How far two results are from each other, relative to the largest entry."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from torch import Tensor

from gru_parallel.verification.sequences import Results


@dataclass(frozen=True)
class Differences:
    """The largest differences of each kind.

    Attributes:
        output: of the outputs.
        h_n: of the last states.
        dx: of the gradient of the inputs.
        dh_0: of the gradient of the initial states.
        dweights: of the gradients of the weights.
    """

    output: float
    h_n: float
    dx: float
    dh_0: float
    dweights: float

    @property
    def largest(self) -> float:
        """The largest of all."""
        largest: float = max(astuple(self))
        return largest


def compare(actual: Results, expected: Results) -> Differences:
    """Return the differences of two results."""
    return Differences(
        output=difference(actual.output, expected.output),
        h_n=difference(actual.h_n, expected.h_n),
        dx=difference(actual.dx, expected.dx),
        dh_0=difference(actual.dh_0, expected.dh_0),
        dweights=_largest(actual.dweights, expected.dweights),
    )


def largest_of_each(differences: Iterable[Differences]) -> Differences:
    """Take the largest difference of each kind."""
    return Differences(*map(max, zip(*map(astuple, differences), strict=True)))


def _largest(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference of as many tensors; infinity if they are not as many."""
    if len(actual) != len(expected):
        return math.inf
    return max(map(difference, actual, expected))


def difference(actual: Tensor, expected: Tensor) -> float:
    """Return the largest difference relative to the largest entry of `expected`.

    Infinity if shapes differ or an entry is NaN, so that nothing passes by accident.
    """
    if actual.shape != expected.shape:
        return math.inf
    largest = expected.abs().max().item()
    off = (actual.detach().cpu() - expected.detach().cpu()).abs().max().item()
    relative = off / largest if largest > 0 else off
    return relative if math.isfinite(relative) else math.inf
