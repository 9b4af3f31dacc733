"""Scales every column to mean 0 and standard deviation 1, and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Standardizer:
    """The mean and the scale of each column of the training rows.

    Attributes:
        mean: array of shape `(columns,)`, in the units of the series.
        scale: standard deviation, array of shape `(columns,)`; 1 for a constant column.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> "Standardizer":
        """Compute mean and scale of the training rows, array of shape `(rows, columns)`."""
        # Not `std == 0`: by rounding, the standard deviation of a constant may be 1e-17 or so.
        is_constant = np.ptp(values, axis=0) == 0
        return cls(values.mean(axis=0), np.where(is_constant, 1.0, values.std(axis=0)))

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert values, array of shape `(..., columns)`, to standard units."""
        return (values - self.mean) / self.scale

    def inverse(
        self, values: NDArray[np.floating], columns: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """Convert values in standard units back to those of the series.

        Args:
            values: array of shape `(..., columns)`.
            columns: position of each of these columns in the series; None where all are given.
        """
        chosen = slice(None) if columns is None else list(columns)
        return values * self.scale[chosen] + self.mean[chosen]
