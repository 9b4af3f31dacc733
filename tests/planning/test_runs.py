"""Runs of equal items, against a part's own items."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.planning.runs import Runs


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12))
def test_parts_of_which_the_same_is_said_have_the_same_items(items: list[int]) -> None:
    runs = Runs(items)
    parts = [
        range(start, stop)
        for start in range(len(items))
        for stop in range(start + 1, len(items) + 1)
    ]
    said: dict[object, list[int]] = {}

    for part in parts:
        here = items[part.start : part.stop]
        lengths = [len(list(same)) for _, same in groupby(here)]
        assert [length for _, length in runs.within(part)] == lengths
        assert said.setdefault(runs.within(part), here) == here


def test_equal_parts_of_one_run_are_told_to_be_so() -> None:
    runs = Runs(["a", "b", "b", "b", "b", "c"])

    assert runs.within(range(1, 3)) == runs.within(range(3, 5)) == ((1, 2),)
    assert runs.within(range(0, 3)) == ((0, 1), (1, 2))
