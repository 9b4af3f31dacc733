"""Finds numbers that stand for a missing value, by their size: the largest double, 1e30 and so on.

One of them would make a column's scale so large that, in the precision of training, all other
values become the same number.
"""

import numpy as np
from numpy.typing import NDArray

_FROM = 1e15
_TIMES_THE_OTHERS = 1e6
"""float32 has about seven digits: at a millionth of the size, the others' differences are lost."""

_TOO_LARGE_TO_SQUARE = 1e150


def stand_for_missing(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which values stand for missing ones.

    Args:
        values: array of shape `(rows, columns)`; NaN for a gap.

    Returns:
        Array of the same shape: true where a value is above 1e15 and a million times as large as
        the largest that is not, or too large for a variance to be computed.
    """
    sizes = np.where(np.isfinite(values), np.abs(values), 0.0)
    return np.stack([_of_column(column) for column in sizes.T], axis=1)


def _of_column(sizes: NDArray[np.float64]) -> NDArray[np.bool_]:
    too_large: NDArray[np.bool_] = sizes > _TOO_LARGE_TO_SQUARE
    if not (sizes > _FROM).any():
        return too_large
    ascending = np.unique(sizes[~too_large & (sizes > 0)])
    # The lowest such leap: above it there may be several marks of different sizes.
    leaps = np.flatnonzero(
        (ascending[1:] > _FROM) & (ascending[1:] > _TIMES_THE_OTHERS * ascending[:-1])
    )
    if not len(leaps):
        return too_large
    lowest = float(ascending[leaps[0] + 1])
    return np.asarray(sizes >= lowest)
