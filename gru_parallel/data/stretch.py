"""Stretch: consecutive rows of a series, as they are kept while a file passes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.table import n_past


@dataclass(frozen=True)
class Stretch:
    """Consecutive rows of a series.

    Attributes:
        rows: number of each row in its file, array of shape `(rows,)`.
        times: of the same shape.
        values: without gaps, array of shape `(rows, columns)`; in rows that are ahead, NaN where
            what is known ahead is not said.
        came: the targets as they are in the file, NaN for a gap, array of shape `(rows, targets)`.
        has_values: whether there is more in the file than what is known ahead, of shape `(rows,)`.
        n_filled: number of values in each row that are filled in, of shape `(rows,)`.
    """

    rows: NDArray[np.int64]
    times: NDArray[Any]
    values: NDArray[np.float64]
    came: NDArray[np.float64]
    has_values: NDArray[np.bool_]
    n_filled: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def n_past(self) -> int:
        """Number of rows up to the last one with values; those after it are ahead."""
        return n_past(self.has_values)

    @property
    def is_gap(self) -> NDArray[np.bool_]:
        """Which rows have no values although rows with values follow them."""
        return ~self.has_values & (np.arange(len(self)) < self.n_past)

    def at(self, of: slice | NDArray[np.bool_]) -> "Stretch":
        """Return some of the rows."""
        return Stretch(*(each[of] for each in vars(self).values()))

    def part(self, first: int, stop: int) -> "Stretch":
        """Return the rows from the first, or what there is of them, up to `stop`."""
        return self.at(slice(max(first, 0), stop))

    def then(self, after: "Stretch") -> "Stretch":
        """Return these rows and those after them."""
        pairs = zip(vars(self).values(), vars(after).values(), strict=True)
        return Stretch(*(np.concatenate(pair) for pair in pairs))
