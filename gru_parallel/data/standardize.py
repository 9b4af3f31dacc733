"""Brings every column to mean 0 and standard deviation 1, and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Standardizer:
    """The mean and the scale of each column, taken from the training rows alone.

    Attributes:
        mean: array of shape `(columns,)`, in the units of the series.
        scale: standard deviation, array of shape `(columns,)`; 1 for a constant column.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> "Standardizer":
        """Take mean and scale from rows of values.

        Args:
            values: the training rows, array of shape `(rows, columns)`.

        Returns:
            A standardizer for these columns.
        """
        # Not `std == 0`: rounding gives a column of one value a standard deviation of 1e-17 or so.
        is_constant = np.ptp(values, axis=0) == 0
        return cls(values.mean(axis=0), np.where(is_constant, 1.0, values.std(axis=0)))

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the units of the series to standard ones.

        Args:
            values: array of shape `(..., columns)`.

        Returns:
            Array of the same shape.
        """
        return (values - self.mean) / self.scale

    def inverse(
        self, values: NDArray[np.floating], columns: Sequence[int] | None = None
    ) -> NDArray[np.float64]:
        """From standard units back to those of the series.

        Args:
            values: array of shape `(..., columns)`.
            columns: position of each of these columns in the series; None where all are given.

        Returns:
            Array of the same shape.
        """
        of = slice(None) if columns is None else list(columns)
        return values * self.scale[of] + self.mean[of]
