from itertools import combinations, product

import pytest

from tests.grids import every_nth

AXES = {"letter": "abcde", "digit": (1, 2, 3), "flag": [False, True], "size": range(3)}


@pytest.mark.parametrize(("n", "meet"), [(4, 2), (3, 2), (2, 3), (6, 1)])
def test_the_ordinary_cases_bring_all_values_of_so_many_axes_together(n: int, meet: int) -> None:
    cases = every_nth(n, meet=meet, **AXES).args[1]

    assert [case.values for case in cases] == list(product(*AXES.values()))
    ordinary = [case.values for case in cases if not case.marks]
    assert len(ordinary) <= len(cases) / n + 1
    for axes in combinations(range(len(AXES)), meet):
        met = {tuple(case[axis] for axis in axes) for case in ordinary}
        assert met == set(product(*(list(AXES.values())[axis] for axis in axes)))


def test_a_part_in_which_some_values_never_meet_is_refused() -> None:
    with pytest.raises(ValueError, match="in one of 5 cases, not all values of letter, digit meet"):
        every_nth(5, **AXES)
