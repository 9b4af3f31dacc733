"""Cuts rows, or whole series, into training, validation and test parts: data.split."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

from gru_parallel.errors import UsageError

PARTS = ("training", "validation", "test")
_COUNTS = {"row": "[8640,2880,2880]", "series": "[80,10,10]"}


def split(
    n: int,
    parts: Sequence[float],
    unit: str = "row",
    whole: str = "of the series",
    *,
    trains: bool = True,
) -> dict[str, range]:
    """Cut `n` rows, in the order of time, or `n` series, in their order.

    Args:
        n: number of rows or series.
        parts: the user's data.split: three fractions or three counts. They may add up to less than
            the whole; what comes after the test part is unused. All but the first may be 0: the run
            then has no such part. The first may be, too, where nothing is trained.
        unit: "row" or "series".
        whole: names for an error what they are cut from, after "more than the 100".
        trains: whether the first part is trained on.

    Returns:
        The positions in "training", "validation" and "test".

    Raises:
        UsageError: the numbers are not three, negative, mixed, or add up to too much; or there is
            nothing to train on.
    """
    # A config gives counts as floats, and users write them without a point.
    numbers = [int(part) if float(part).is_integer() else part for part in parts]
    shown = f"data.split=[{','.join(map(str, numbers))}]"
    examples = f"three fractions, as [0.7,0.1,0.2], or three {unit} counts, as {_COUNTS[unit]}"
    if len(parts) != len(PARTS):
        raise UsageError(f"{shown} has {len(parts)} parts, not 3; give {examples}.")
    if not all(math.isfinite(part) and part >= 0 for part in parts):
        raise UsageError(f"{shown} holds a part that is negative or no number; give {examples}.")
    if not any(parts):
        raise UsageError(f"{shown} leaves out all rows; give {examples}.")
    if trains and not parts[0]:
        raise UsageError(f"{shown} leaves nothing to train on; give {examples}.")
    # [1,0,0] is the whole, not one row.
    if all(float(part).is_integer() for part in parts) and sum(parts) > 1:
        ends = list(accumulate(map(int, parts)))
        if ends[-1] > n:
            units = "rows" if unit == "row" else "series"
            raise UsageError(
                f"{shown} takes {ends[-1]} {units}, more than the {n} {whole}; use smaller counts, "
                "or fractions."
            )
    else:
        if any(part > 1 for part in parts):
            raise UsageError(
                f"{shown} is neither all fractions nor all {unit} counts; give {examples}."
            )
        total = math.fsum(parts)
        if total > 1 + 1e-9:
            raise UsageError(
                f"{shown} adds up to {total:g} of the series; use fractions <= 1 in all."
            )
        ends = [min(n, round(n * math.fsum(parts[: i + 1]))) for i in range(len(PARTS))]
    return dict(zip(PARTS, (range(*ab) for ab in pairwise([0, *ends])), strict=True))


def split_series(n_series: int, parts: Sequence[float], *, trains: bool = True) -> dict[str, range]:
    """Cut several series into whole ones for each part that is asked for; see `split`."""
    whole = "that there are (data.split_by=series)"
    cut = split(n_series, parts, "series", whole, trains=trains)
    for name, part in cut.items():
        if not part and name in wanted_parts(parts):
            shares = ",".join(map(str, parts))
            raise UsageError(
                f"data.split=[{shares}] leaves none of the {n_series} series for {name} "
                "(data.split_by=series); use other parts, or data.split_by=time."
            )
    return cut


def wanted_parts(parts: Sequence[float]) -> list[str]:
    """Name the parts that a data.split asks for: those whose share is not 0."""
    return [name for name, share in zip(PARTS, parts, strict=True) if share > 0]
