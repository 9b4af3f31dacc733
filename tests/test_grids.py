from itertools import combinations, product

import pytest

from tests.grids import covering

AXES = {"letter": "abcde", "digit": (1, 2, 3), "flag": [False, True], "size": range(3)}


@pytest.mark.parametrize(("strength", "most"), [(1, 5), (2, 16)])
def test_any_values_of_so_many_axes_meet_in_few_ordinary_cases(strength: int, most: int) -> None:
    cases = covering(strength, **AXES).args[1]

    assert [case.values for case in cases] == list(product(*AXES.values()))
    ordinary = [case.values for case in cases if not case.marks]
    assert len(ordinary) <= most
    for axes in combinations(range(len(AXES)), strength):
        met = {tuple(case[axis] for axis in axes) for case in ordinary}
        assert met == set(product(*(list(AXES.values())[axis] for axis in axes)))


def test_values_take_turns_where_each_is_to_be_there_once() -> None:
    cases = covering(1, letter="abcdef", digit=(1, 2, 3), flag=[False, True]).args[1]

    ordinary = ["".join(map(str, case.values)) for case in cases if not case.marks]
    assert ordinary == ["a1False", "b2True", "c3False", "d1True", "e2False", "f3True"]
