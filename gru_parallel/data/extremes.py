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
        values: array of shape `(rows, columns)`; NaN for a gap. Of a piece of a file it is told by
            the piece, lest a mark beside zeros is taken for a measured value.

    Returns:
        Array of the same shape: true where a value is above 1e15 and a million times as large as
        the largest that is not, or too large for a variance to be computed. Beside zeros alone,
        one such number is a mark, however often it is there; several are measured.
    """
    return np.stack([_of_column(column) for column in values.T], axis=1)


def _of_column(column: NDArray[np.float64]) -> NDArray[np.bool_]:
    sizes = np.where(np.isfinite(column), np.abs(column), np.nan)
    too_large: NDArray[np.bool_] = sizes > _TOO_LARGE_TO_SQUARE
    if not (sizes > _FROM).any():
        return too_large
    ascending = np.unique(sizes[sizes <= _TOO_LARGE_TO_SQUARE])
    is_leap = (ascending[1:] > _FROM) & (ascending[1:] > _TIMES_THE_OTHERS * ascending[:-1])
    if not ascending[:1].any() and not is_leap[1:2].all():
        # Zeros have no unit, and the next size is not alone.
        is_leap[:1] = False
    # The lowest such leap: above it there may be several marks of different sizes.
    leaps = np.flatnonzero(is_leap)
    if not len(leaps):
        return too_large
    lowest = float(ascending[leaps[0] + 1])
    return np.asarray(sizes >= lowest)
