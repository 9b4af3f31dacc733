"""Cuts a series, by time, into its training, validation and test parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gru_parallel.errors import UsageError

_EXAMPLES = "give three fractions, as [0.7,0.1,0.2], or three row counts, as [8640,2880,2880]"


@dataclass(frozen=True)
class Split:
    """The rows of each part, in the order of time; rows after the test part are unused."""

    training: range
    validation: range
    test: range


def split(n_rows: int, parts: Sequence[float]) -> Split:
    """Cut `n_rows` rows into training, validation and test.

    Args:
        n_rows: rows of the series.
        parts: the user's data.split: three fractions of the rows, or three row counts. They may
            add up to less than the whole; the rows at the end are then unused.

    Returns:
        The rows of each part.

    Raises:
        UsageError: the numbers are not three, not positive, mixed, or add up to too much.
    """
    shown = f"data.split={_shown(parts)}"
    if len(parts) != 3:
        raise UsageError(f"{shown} has {len(parts)} parts, not 3; {_EXAMPLES}.")
    if not all(math.isfinite(part) and part > 0 for part in parts):
        raise UsageError(f"{shown} holds a part that is not positive; {_EXAMPLES}.")
    if all(part <= 1 for part in parts):
        return _by_fractions(n_rows, parts, shown)
    if all(part > 1 and float(part).is_integer() for part in parts):
        return _by_counts(n_rows, parts, shown)
    raise UsageError(f"{shown} is neither all fractions nor all row counts; {_EXAMPLES}.")


def _by_fractions(n_rows: int, parts: Sequence[float], shown: str) -> Split:
    total = math.fsum(parts)
    if total > 1 + 1e-9:
        raise UsageError(f"{shown} adds up to {total:g} of the series; use fractions <= 1 in all.")
    ends = [min(n_rows, round(n_rows * math.fsum(parts[: i + 1]))) for i in range(3)]
    return Split(range(ends[0]), range(ends[0], ends[1]), range(ends[1], ends[2]))


def _by_counts(n_rows: int, parts: Sequence[float], shown: str) -> Split:
    train, validation, test = (int(part) for part in parts)
    total = train + validation + test
    if total > n_rows:
        raise UsageError(
            f"{shown} takes {total} rows, more than the {n_rows} of the series; "
            "use smaller counts, or fractions."
        )
    return Split(range(train), range(train, train + validation), range(train + validation, total))


def _shown(parts: Sequence[float]) -> str:
    return "[" + ",".join(f"{part:g}" if part <= 1 else str(part) for part in parts) + "]"
