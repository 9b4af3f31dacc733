"""Products of parameters, of which a part is ordinary and the rest marked `long`."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations, product

import pytest


def every_nth(n: int, **axes: Collection[object]) -> pytest.MarkDecorator:
    """Parametrise a test with every combination of values, one in `n` of which is ordinary.

    Those are the ones whose places along the axes add up to a multiple of `n`. Any two values of
    two axes meet in one of them, if the places along the other axes add up to `n` - 1 somewhere;
    the other combinations are marked `long`.

    Args:
        n: 1 for all of them.
        axes: by the name of a parameter, its values.

    Raises:
        ValueError: two values might never meet.
    """
    for pair in combinations(axes, 2):
        if sum(len(axes[name]) - 1 for name in axes if name not in pair) < n - 1:
            raise ValueError(f"one in {n} does not bring every {pair[0]} together with {pair[1]}")
    cases = []
    for placed in product(*(enumerate(values) for values in axes.values())):
        places, values = zip(*placed, strict=True)
        marks = [] if sum(places) % n == 0 else [pytest.mark.long]
        cases.append(pytest.param(*values, id="-".join(map(str, values)), marks=marks))
    return pytest.mark.parametrize(list(axes), cases)
