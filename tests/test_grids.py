from itertools import combinations, product

import pytest

from tests.grids import every_nth

AXES = {"letter": "abcde", "digit": (1, 2, 3), "flag": [False, True], "size": range(3)}


def test_the_ordinary_cases_bring_every_two_values_together() -> None:
    cases = every_nth(4, **AXES).args[1]

    assert [case.values for case in cases] == list(product(*AXES.values()))
    ordinary = [case.values for case in cases if not case.marks]
    assert len(ordinary) < len(cases) / 3
    for one, other in combinations(range(len(AXES)), 2):
        values = list(AXES.values())
        met = {(case[one], case[other]) for case in ordinary}
        assert met == set(product(values[one], values[other]))


def test_a_part_in_which_two_values_never_meet_is_refused() -> None:
    with pytest.raises(ValueError, match="one in 5 does not bring every letter together with dig"):
        every_nth(5, **AXES)
