"""Products of parameters, of which a part is ordinary and the rest marked `long`."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations, product

import pytest


def every_nth(n: int, /, *, meet: int = 2, **axes: Collection[object]) -> pytest.MarkDecorator:
    """Parametrise a test with every combination of values, one in `n` of which is ordinary.

    Those are the ones whose places along the axes add up to a multiple of `n`; the others are
    marked `long`.

    Args:
        n: 1 for all of them.
        meet: any values of so many axes meet in an ordinary test; 1 for any value in one at least.
        axes: by the name of a parameter, its values.

    Raises:
        ValueError: some might never meet, because the places along the other axes do not reach
            `n` - 1.
    """
    for some in combinations(axes, meet):
        if sum(len(axes[name]) - 1 for name in axes if name not in some) < n - 1:
            raise ValueError(f"in one of {n} cases, not all values of {', '.join(some)} meet")
    cases = []
    for placed in product(*(enumerate(values) for values in axes.values())):
        places, values = zip(*placed, strict=True)
        marks = [] if sum(places) % n == 0 else [pytest.mark.long]
        cases.append(pytest.param(*values, id="-".join(map(str, values)), marks=marks))
    return pytest.mark.parametrize(list(axes), cases)
