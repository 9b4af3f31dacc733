"""Products of parameters, of which a covering array is ordinary and the rest marked `long`."""

from __future__ import annotations

from collections.abc import Collection
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
            there.
        axes: by the name of a parameter, its values.
    """
    sizes = [range(len(values)) for values in axes.values()]
    ordinary = {tuple(places) for places in AllPairs(sizes, n=strength)}
    cases = []
    for placed in product(*(enumerate(values) for values in axes.values())):
        places, values = zip(*placed, strict=True)
        marks = [] if places in ordinary else [pytest.mark.long]
        cases.append(pytest.param(*values, id="-".join(map(str, values)), marks=marks))
    return pytest.mark.parametrize(list(axes), cases)
