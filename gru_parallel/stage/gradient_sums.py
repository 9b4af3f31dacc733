"""GradientSums: the gradients of some weights, added up cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class GradientSums:
    """Adds up what B finds for each weight.

    Args:
        weights: the tensors that are differentiated by; those that need no gradient get none.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = list(weights)
        self.trained = [w for w in weights if w.requires_grad]
        self.clear()

    def clear(self) -> None:
        """Begin again at nothing."""
        self._sums: list[Tensor | None] = [None for _ in self.trained]
        self._own: set[int] = set()

    def add(self, found: Sequence[Tensor | None]) -> None:
        """Add a gradient for each of `trained`; None adds nothing."""
        for index, gradient in enumerate(found):
            total = self._sums[index]
            if gradient is None:
                continue
            if total is None:
                self._sums[index] = gradient
            elif index in self._own:
                total.add_(gradient)
            else:
                # autograd may have handed one tensor to several weights: the first sum is new.
                self._sums[index] = total + gradient
                self._own.add(index)

    def of_all_weights(self) -> list[Tensor | None]:
        """Return the sum for each weight, in their order; None where nothing was found."""
        by_id = {id(w): g for w, g in zip(self.trained, self._sums, strict=True)}
        return [by_id.get(id(w)) for w in self._weights]
