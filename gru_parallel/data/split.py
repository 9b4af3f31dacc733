"""Cuts rows by time, or series in their order, into training, validation and test parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gru_parallel.errors import UsageError

_EXAMPLES = "give three fractions, as [0.7,0.1,0.2], or three {unit} counts, as {counts}"
_COUNTS = {"row": "[8640,2880,2880]", "series": "[80,10,10]"}


@dataclass(frozen=True)
class Split:
    """The positions of each part, one after another; what comes after the test part is unused."""

    training: range
    validation: range
    test: range


def split(n_rows: int, parts: Sequence[float], series: str = "") -> Split:
    """Cut the rows of a series into training, validation and test.

    Args:
        n_rows: rows of the series.
        parts: the user's data.split: three fractions of the rows, or three row counts. They may
            add up to less than the whole; the rows at the end are then unused.
        series: name of the series for an error; empty where there is but one.

    Returns:
        The rows of each part, in the order of time.

    Raises:
        UsageError: the numbers are not three, not positive, mixed, or add up to too much.
    """
    whole = f"series {series!r}" if series else "the series"
    shown = _shown(parts)
    if _are_fractions(parts, shown, "row"):
        return _by_fractions(n_rows, parts)
    total = int(sum(parts))
    if total > n_rows:
        raise UsageError(
            f"{shown} takes {total} rows, more than the {n_rows} of {whole}; "
            "use smaller counts, or fractions."
        )
    return _by_counts(parts)


def split_series(n_series: int, parts: Sequence[float]) -> Split:
    """Cut several series into whole ones for training, for validation and for the test.

    Args:
        n_series: number of series.
        parts: the user's data.split: three fractions of the series, or three numbers of them.

    Returns:
        The series of each part, at least one.

    Raises:
        UsageError: the numbers are not three, not positive, mixed, add up to too much, or leave a
            part without a series.
    """
    shown = _shown(parts)
    if not _are_fractions(parts, shown, "series"):
        total = int(sum(parts))
        if total > n_series:
            raise UsageError(
                f"{shown} takes {total} series, more than the {n_series} that there are (data."
                "split_by=series); use smaller counts, or fractions."
            )
        return _by_counts(parts)
    cut = _by_fractions(n_series, parts)
    for name, part in vars(cut).items():
        if not part:
            raise UsageError(
                f"{shown} leaves none of the {n_series} series for {name} (data.split_by=series); "
                "use other parts, or data.split_by=time."
            )
    return cut


def _are_fractions(parts: Sequence[float], shown: str, unit: str) -> bool:
    """Whether the parts are fractions, and not counts; refuses what is neither."""
    examples = _EXAMPLES.format(unit=unit, counts=_COUNTS[unit])
    if len(parts) != 3:
        raise UsageError(f"{shown} has {len(parts)} parts, not 3; {examples}.")
    if not all(math.isfinite(part) and part > 0 for part in parts):
        raise UsageError(f"{shown} holds a part that is not positive; {examples}.")
    if all(part >= 1 and float(part).is_integer() for part in parts):
        return False
    if any(part > 1 for part in parts):
        raise UsageError(f"{shown} is neither all fractions nor all {unit} counts; {examples}.")
    total = math.fsum(parts)
    if total > 1 + 1e-9:
        raise UsageError(f"{shown} adds up to {total:g} of the series; use fractions <= 1 in all.")
    return True


def _by_fractions(n: int, parts: Sequence[float]) -> Split:
    ends = [min(n, round(n * math.fsum(parts[: i + 1]))) for i in range(3)]
    return Split(range(ends[0]), range(ends[0], ends[1]), range(ends[1], ends[2]))


def _by_counts(parts: Sequence[float]) -> Split:
    train, validation, test = (int(part) for part in parts)
    end = train + validation
    return Split(range(train), range(train, end), range(end, end + test))


def _shown(parts: Sequence[float]) -> str:
    # A config gives counts as floats, and users write them without a point.
    numbers = [int(part) if float(part).is_integer() else part for part in parts]
    return f"data.split=[{','.join(map(str, numbers))}]"
