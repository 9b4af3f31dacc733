"""How much each row counts in the loss: data.weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.parts import SeriesPart
from gru_parallel.data.window_shape import WindowShape
from gru_parallel.errors import UsageError

if TYPE_CHECKING:
    # It is with pandas, which a series that is generated can do without.
    from gru_parallel.data.rows import Rows


def weight_of(rows: Rows, column: str) -> NDArray[np.float64]:
    """Return the weights of a series, whose last column they are; of inserted rows they are 0.

    Args:
        rows: of the series.
        column: name of the column.

    Raises:
        UsageError: a row of the file has none, or one below 0.
    """
    weight = rows.numbers[:, -1].copy()
    is_inserted = rows.positions < 0
    weight[is_inserted] = 0.0
    for bad in np.flatnonzero(~(weight >= 0))[:1]:
        is_gap = np.isnan(weight[bad])
        raise rows.sheet.error(
            f"{rows.describe(int(bad))}, column {column!r} is"
            f" {'empty or no number' if is_gap else f'{weight[bad]:g}'}, and how much a row counts"
            " (data.weight) is a number from 0 on; correct it, with 0 for rows that do not count."
        )
    return weight


def mean_one(
    weights: Sequence[NDArray[np.float64] | None], training: Sequence[SeriesPart]
) -> NDArray[np.float64] | None:
    """Scale weights so that their mean over the training rows is 1.

    So a loss keeps its size, and a learning rate its meaning.

    Args:
        weights: of each series, or None.
        training: the rows of the training part; without any, nothing is weighted.

    Returns:
        Array of shape `(rows of all series,)`; None where all count alike.

    Raises:
        UsageError: some series have weights and others do not, or those for training are all 0.
    """
    given = [weight for weight in weights if weight is not None]
    if not given or not training:
        return None
    if len(given) < len(weights):
        raise UsageError(
            f"{len(given)} of {len(weights)} series have weights; give them to all series, or to"
            " none."
        )
    joined = np.concatenate(given)
    if (joined == joined[0]).all() and joined[0] > 0:
        return None
    mean = np.concatenate([joined[part.rows.start : part.rows.stop] for part in training]).mean()
    if mean == 0:
        raise UsageError(
            "data.weight is 0 in all rows of the training part, so that there is nothing to learn;"
            " give some of them more, or change data.split."
        )
    scaled: NDArray[np.float64] = joined / mean
    return scaled


_USELESS = {"training": "there is nothing to learn", "validation": "all epochs are alike"}


def check_some_count(
    weight: NDArray[np.float64], ends: Mapping[str, Sequence[range]], shape: WindowShape
) -> None:
    """Check that what is trained on, and what is validated on, does not all count 0.

    Args:
        weight: of all rows.
        ends: for each part, those of the windows of its series, see `window_ends`.
        shape: of the windows.

    Raises:
        UsageError: it does.
    """
    # The first window forecasts the rows after it, or those `horizon` after its inputs.
    before = 0 if shape.task == "window" else max(0, shape.shortest - shape.horizon)
    for part, useless in _USELESS.items():
        of_series = [weight[of.start - before : of[-1] + shape.horizon] for of in ends[part]]
        if of_series and not any(rows.any() for rows in of_series):
            raise UsageError(
                f"data.weight is 0 in all rows that the {part} part forecasts, so that {useless};"
                " give some of them more, or change data.split."
            )
