"""Reads the arrays of a series that was made in memory: values, times and weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gru_parallel.data.extremes import stand_for_missing
from gru_parallel.errors import UsageError


def read_values(
    name: str, given: ArrayLike, columns: Sequence[str], *, may_have_gaps: bool = True
) -> NDArray[np.float64]:
    """Read values.

    Args:
        name: of the argument, for an error.
        given: of shape `(rows, columns)`.
        columns: names of the columns.
        may_have_gaps: whether a value may be NaN.

    Returns:
        The array; it is not copied if it is one of float64.

    Raises:
        UsageError: they are no numbers, do not fit the columns, or one is not finite, or so large
            that it stands for a missing value.
    """
    values = _as_floats(name, given)
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise UsageError(
            f"{name} has the shape {values.shape}, which does not fit {len(columns)} columns; give "
            f"an array of shape (rows, {len(columns)})."
        )
    wanted = "finite numbers, or NaN for a gap" if may_have_gaps else "finite numbers only"
    for is_bad, problem in (
        (np.isinf(values) if may_have_gaps else ~np.isfinite(values), ""),
        (
            stand_for_missing(values),
            ", so much more than all others that it must stand for a missing value",
        ),
    ):
        for row, column in np.argwhere(is_bad)[:1]:
            raise UsageError(
                f"{name} holds {values[row, column]} in row {row}, column {columns[column]!r}"
                f"{problem}; give {wanted}."
            )
    return values


def read_times(given: ArrayLike, n_rows: int) -> NDArray[Any]:
    """Read times.

    Args:
        given: dates or numbers, of shape `(rows,)`.
        n_rows: number of rows.

    Returns:
        Array of datetime64 or of numbers, ascending.

    Raises:
        UsageError: they are something else, or not as many, one is missing, or no later than that
            of the row before.
    """
    times = np.asarray(given)
    if times.dtype.kind not in "Miuf":
        kind = {"U": "texts", "O": "objects"}.get(times.dtype.kind, times.dtype.name)
        raise UsageError(
            f"times holds {kind}; give an array of dates or of numbers: numpy.array(times,"
            " dtype='datetime64[us]') makes one of texts and of datetimes."
        )
    if times.dtype.kind == "M" and np.datetime_data(times.dtype)[0] in ("ps", "fs", "as"):
        raise UsageError(
            f"times holds {times.dtype.name}, and dates are known to the nanosecond; give"
            " times.astype('datetime64[ns]')."
        )
    if times.shape != (n_rows,):
        raise UsageError(
            f"times has the shape {times.shape}, and values has {n_rows} rows; give one time for"
            " each row."
        )
    for row in np.flatnonzero(~np.isfinite(times))[:1]:
        raise UsageError(f"times holds {times[row]} in row {row}; give each row its time.")
    for before in np.flatnonzero(times[1:] <= times[:-1])[:1]:
        row, earlier, later = before + 1, times[before], times[before + 1]
        if earlier == later:
            problem = f"row {row} repeats the time of row {before}, {later}; keep one of them"
        else:
            problem = (
                f"row {row} ({later}) is earlier than row {before} ({earlier}); sort the rows by"
                " their times"
            )
        raise UsageError(f"times does not ascend: {problem}.")
    return times


def read_weight(given: ArrayLike, n_rows: int) -> NDArray[np.float64]:
    """Read how much each row counts.

    Args:
        given: numbers from 0 on, of shape `(rows,)`.
        n_rows: number of rows.

    Raises:
        UsageError: they are something else, or not as many.
    """
    weight = _as_floats("weight", given)
    is_good = np.isfinite(weight) & (weight >= 0)
    if weight.shape != (n_rows,) or not is_good.all():
        raise UsageError(
            f"weight has the shape {weight.shape}, and {int((~is_good).sum())} of its numbers are"
            f" below 0 or not finite; give {n_rows} numbers from 0 on, one for each row."
        )
    return weight


def _as_floats(name: str, given: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} cannot be read as numbers ({error}); give an array.") from error
