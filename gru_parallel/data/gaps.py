"""Fills gaps with what was known by then: data.missing=interpolate.

Rows stand for rows that arrive one after another, so a gap repeats the last value known before it,
which may be in an earlier part: no window has, in a gap, what it is to forecast. In training, too:
straight lines to the next value teach a model to prolong lines, which are not there when it
forecasts. With a value in every fourth row, a linear model had three times the squared error.

    rows        training           | validation        | test
    values      1    .    3    .   | .    6    .       | .    9
    filled      1    1    3    3   | 3    6    6       | 6    9
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gru_parallel.data.parts import SeriesPart
from gru_parallel.errors import UsageError

Values = NDArray[np.float64]


def fill_gaps(
    values: Values,
    columns: Sequence[str],
    parts: Mapping[str, Sequence[SeriesPart]],
    mean: Values | None = None,
) -> Values:
    """Fill the NaN in the training, validation and test parts.

    Args:
        values: all series, one after another, array of shape `(rows, columns)`.
        columns: names of the columns, for an error.
        parts: for "training", "validation" and "test", the rows of each series.
        mean: of each column, for a validation or test series before its first value; None for that
            of the training rows here.

    Returns:
        Array of the same shape, finite in all parts. Before the first value of a training series,
        this is repeated; before that of a validation or test series, there is the mean.

    Raises:
        UsageError: a column has no value in the training rows of a series.
    """
    if not np.isnan(values).any():
        return values
    filled = values.copy()
    for part in parts["training"]:
        rows = slice(part.rows.start, part.rows.stop)
        filled[rows] = repeated(values[rows], _first(values[rows], columns, part.series))
    if mean is None:
        training = [filled[part.rows.start : part.rows.stop] for part in parts["training"]]
        mean = np.concatenate(training).mean(axis=0)
    for part in (*parts["validation"], *parts["test"]):
        rows = slice(part.series_start, part.rows.stop)
        filled[rows] = repeated(filled[rows], mean)
    return filled


def filled_words(n_filled: int, n_values: int, where: str) -> str:
    """Say how many values are made up; empty if none is.

    Args:
        n_filled: number of values that are filled in.
        n_values: of how many.
        where: they are.
    """
    if not n_filled:
        return ""
    return f"Filled in: {n_filled:,} of {n_values:,} values of {where}, which were missing."


def _first(values: Values, columns: Sequence[str], series: str) -> Values:
    """Return the first known value of each column, array of shape `(columns,)`."""
    is_known = ~np.isnan(values)
    for column in np.flatnonzero(~is_known.any(axis=0))[:1]:
        of_series = f" of series {series!r}" if series else ""
        raise UsageError(
            f"data.missing=interpolate cannot fill column {columns[column]!r}, which has no value"
            f" in the training part{of_series}; leave it out with data.columns or data.future, or"
            " change data.split."
        )
    first: Values = values[is_known.argmax(axis=0), np.arange(values.shape[1])]
    return first


def repeated(values: Values, at_first: Values) -> Values:
    """Fill the gaps of each column with its last known value, and with `at_first` before that.

    Args:
        values: array of shape `(rows, columns)`, NaN for a gap.
        at_first: array of shape `(columns,)`.
    """
    rows = np.arange(len(values))[:, None]
    last_known = np.maximum.accumulate(np.where(np.isnan(values), -1, rows), axis=0)
    known = np.take_along_axis(values, np.maximum(last_known, 0), axis=0)
    return np.where(last_known < 0, at_first, known)
