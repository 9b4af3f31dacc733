"""Products of parameters, of which a covering array is ordinary and the rest marked `long`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import product

import pytest
from allpairspy import AllPairs


def covering(strength: int, /, **axes: Collection[object]) -> pytest.MarkDecorator:
    """Parametrise a test with every combination of values; those of a covering array are ordinary.

    A covering array holds few combinations, but any values of so many axes meet in one of them
    (Cohen et al., The AETG System, IEEE Transactions on Software Engineering 23(7), 1997). The
    others are marked `long`.

    Args:
        strength: 2, so that any two values of different axes meet, or 1, so that each value is
            there, and meets as many others as it can in so few combinations.
        axes: by the name of a parameter, its values.
    """
    sizes = [range(len(values)) for values in axes.values()]
    rows = _each_value(sizes) if strength == 1 else AllPairs(sizes, n=strength)
    ordinary = {tuple(places) for places in rows}
    cases = []
    for placed in product(*(enumerate(values) for values in axes.values())):
        places, values = zip(*placed, strict=True)
        marks = [] if places in ordinary else [pytest.mark.long]
        cases.append(pytest.param(*values, id="-".join(map(str, values)), marks=marks))
    return pytest.mark.parametrize(list(axes), cases)


def _each_value(sizes: Sequence[Collection[int]]) -> list[list[int]]:
    """Make as many rows as the longest axis has values; those of shorter ones take turns."""
    rows: list[list[int]] = []
    for _ in range(max(map(len, sizes))):
        row: list[int] = []
        for axis, size in enumerate(sizes):
            n_times = Counter(other[axis] for other in rows)
            n_met = Counter(
                other[axis]
                for other in rows
                for place, own in enumerate(row)
                if other[place] == own
            )
            row.append(min(size, key=lambda value: (n_times[value], n_met[value], value)))
        rows.append(row)
    return rows
