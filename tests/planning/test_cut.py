"""Cuts for unequal devices, against every cut there is."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.planning.cut import all_cuts, fastest_cut

WEIGHTS = st.lists(st.integers(0, 9), min_size=1, max_size=7)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[float]], list[int], int, list[float]]:
    """Draw blocks, their weights on up to three kinds of devices, and what stages take besides."""
    blocks = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    factors = draw(st.lists(st.sampled_from([1.0, 1.5, 3.0]), min_size=1, max_size=3))
    counts = [draw(st.integers(1, 3)) for _ in factors]
    n_stages = draw(st.integers(1, min(len(blocks), sum(counts))))
    weights = [[factor * block for block in blocks] for factor in factors]
    around = [draw(st.sampled_from([0.0, 0.5])) for _ in factors]
    return weights, counts, n_stages, around


def slowest_of(
    weights: list[list[float]],
    around: list[float],
    kinds: tuple[int, ...],
    sizes: tuple[int, ...],
) -> float:
    starts = [sum(sizes[:stage]) for stage in range(len(sizes))]
    return max(
        sum(weights[kind][start : start + size]) + around[kind]
        for kind, start, size in zip(kinds, starts, sizes, strict=True)
    )


@given(problems())
def test_no_cut_has_a_faster_slowest_stage(
    problem: tuple[list[list[float]], list[int], int, list[float]],
) -> None:
    weights, counts, n_stages, around = problem
    cut = fastest_cut(weights, counts, n_stages, around)
    every = all_cuts(len(weights[0]), counts, n_stages, limit=100_000)

    assert cut is not None
    assert every is not None
    assert sum(cut.sizes) == len(weights[0])
    assert min(cut.sizes) >= 1
    assert all(cut.kinds.count(kind) <= count for kind, count in enumerate(counts))
    assert cut.slowest == pytest.approx(slowest_of(weights, around, cut.kinds, cut.sizes))
    assert cut.slowest == pytest.approx(min(slowest_of(weights, around, *each) for each in every))


@given(problems(), st.integers(1, 6))
def test_the_best_of_what_fits_is_found(
    problem: tuple[list[list[float]], list[int], int, list[float]], most: int
) -> None:
    weights, counts, n_stages, around = problem

    # Later stages have room for more.
    def fits(stage: int, kind: int, first: int, stop: int) -> bool:
        return stop - first <= most + stage

    cut = fastest_cut(weights, counts, n_stages, around, fits)
    every = all_cuts(len(weights[0]), counts, n_stages, limit=100_000)
    assert every is not None
    fitting = [
        (kinds, sizes)
        for kinds, sizes in every
        if all(size <= most + stage for stage, size in enumerate(sizes))
    ]

    if cut is None:
        assert not fitting
    else:
        best = min(slowest_of(weights, around, *each) for each in fitting)
        assert cut.slowest == pytest.approx(best)


def test_equal_blocks_are_shared_out_evenly() -> None:
    cut = fastest_cut([[1.0] * 10], [4], 4)

    assert cut is not None
    assert sorted(cut.sizes) == [2, 2, 3, 3]


def test_a_device_twice_as_fast_gets_twice_the_blocks() -> None:
    cut = fastest_cut([[1.0] * 9, [2.0] * 9], [1, 1], 2)

    assert cut is not None
    assert [cut.sizes[cut.kinds.index(kind)] for kind in (0, 1)] == [6, 3]


def test_every_cut_is_listed_once() -> None:
    every = all_cuts(4, [2, 1], 2, limit=100)

    # Three ways to cut, and of two devices one fast, fast and slow, slow and fast.
    expected = list(product([(0, 0), (0, 1), (1, 0)], [(1, 3), (2, 2), (3, 1)]))
    assert every == expected
    assert all_cuts(4, [2, 1], 2, limit=8) is None


def test_a_stage_ends_early_where_the_next_device_is_too_slow_for_the_block_there() -> None:
    slow = [6.0, 3.0, 6.0, 6.0, 6.0]
    fast = [2.0, 1.0, 2.0, 2.0, 2.0]

    cut = fastest_cut([fast, slow, fast], [1, 1, 2], 4)

    assert cut is not None
    assert cut.slowest == pytest.approx(4.0)


def test_a_stack_of_very_many_blocks_is_cut_into_as_many_stages() -> None:
    assert all_cuts(2_000, [2_000], 2_000, limit=24) == [((0,) * 2_000, (1,) * 2_000)]
