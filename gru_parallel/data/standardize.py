"""Scales every column to mean 0 and standard deviation 1, and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gru_parallel.errors import UsageError


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
        # What overflows is found by `check`, which can name it.
        with np.errstate(over="ignore", invalid="ignore"):
            # Not `std == 0`: by rounding, the deviation of a constant may be 1e-17 or so.
            is_constant = np.ptp(values, axis=0) == 0
            return cls(values.mean(axis=0), np.where(is_constant, 1.0, values.std(axis=0)))

    def leaving(self, n_columns: int) -> "Standardizer":
        """Leave the first columns as they are."""
        is_left = np.arange(len(self.mean)) < n_columns
        return Standardizer(np.where(is_left, 0.0, self.mean), np.where(is_left, 1.0, self.scale))

    def check(self, columns: Sequence[str]) -> None:
        """Check that numbers are neither so large nor so close that there is no scale.

        Raises:
            UsageError: those of a column are; it names the first of these `columns`.
        """
        is_fit = np.isfinite(self.mean) & np.isfinite(self.scale) & (self.scale > 0)
        for column in np.flatnonzero(~is_fit)[:1]:
            raise UsageError(
                f"column {columns[column]!r} has the mean {self.mean[column]:g} and the deviation"
                f" {self.scale[column]:g} in the training part, by which no number can be scaled;"
                " write it in another unit, or leave it out with data.columns or data.future."
            )

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert values, array of shape `(..., columns)`, to standard units."""
        return (values - self.mean) / self.scale

    def transform_last(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert values of the last columns alone, array of shape `(..., last columns)`."""
        first = len(self.mean) - values.shape[-1]
        return (values - self.mean[first:]) / self.scale[first:]

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
