"""Smoothing: points on the surface stay, and one that is far off moves others little."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.planning.cell_costs import CellTimes
from gru_parallel.planning.profile import Point
from gru_parallel.profiling.smoothing import smoothed

SIZES = [(64, 1), (64, 3), (64, 12), (64, 48), (32, 1), (32, 12), (4, 6), (4, 48)]

Sizes = Sequence[tuple[int, int]]
Share = st.floats(0.0, 2.0)


def on_surface(a: float, b: float, c: float, d: float, sizes: Sizes = SIZES) -> list[Point]:
    ms = [a + b * rows + (c + d * rows) * steps for rows, steps in sizes]
    return [
        Point(*size, CellTimes(t, 2 * t, 0.0, 3 * t)) for size, t in zip(sizes, ms, strict=True)
    ]


@given(Share, Share, Share, Share)
def test_points_on_the_surface_stay(a: float, b: float, c: float, d: float) -> None:
    points = on_surface(a, b, c, d)

    for found, point in zip(smoothed(points), points, strict=True):
        assert found[:2] == point[:2]
        assert found.times == pytest.approx(point.times, rel=1e-6, abs=1e-9)


@given(Share, Share, Share, Share, Share)
def test_large_cells_may_take_more_for_each_row_and_step(
    a: float, b: float, c: float, d: float, e: float
) -> None:
    more = [e * max(0.0, rows * steps - 64 * 48 / 8) for rows, steps in SIZES]
    points = [
        point._replace(times=point.times.plus(CellTimes(ms, ms, 0.0, ms)))
        for point, ms in zip(on_surface(a, b, c, d), more, strict=True)
    ]

    for found, point in zip(smoothed(points), points, strict=True):
        assert found.times == pytest.approx(point.times, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("index", range(len(SIZES)))
def test_a_point_that_was_disturbed_is_moved_back_and_others_little(index: int) -> None:
    points = on_surface(0.3, 0.001, 0.02, 0.001)
    disturbed = list(points)
    disturbed[index] = points[index]._replace(times=points[index].times.times(1.5))

    found = smoothed(disturbed)

    errors = [
        f.times.forward_ms / p.times.forward_ms - 1 for f, p in zip(found, points, strict=True)
    ]
    assert max(map(abs, errors)) < 0.5
    assert sum(map(abs, errors)) < 1.0


def test_more_rows_and_more_steps_never_take_less() -> None:
    # Short cells were disturbed: a plane through these points would fall with steps.
    sizes = [(64, 1), (64, 4), (64, 32), (4, 4), (4, 32), (16, 4), (16, 32)]
    taken = [0.9, 0.7, 0.4, 0.3, 0.05, 0.4, 0.06]
    points = [Point(*size, CellTimes(ms)) for size, ms in zip(sizes, taken, strict=True)]

    found = {point[:2]: point.times.forward_ms for point in smoothed(points)}

    for (rows, steps), ms in found.items():
        assert ms > 0
        assert all(ms <= more + 1e-12 for (r, s), more in found.items() if r >= rows and s >= steps)


def test_nothing_takes_less_than_nothing() -> None:
    points = on_surface(0.0, 0.0, 0.01, 0.0)
    points[0] = points[0]._replace(times=CellTimes())

    assert min(min(point.times) for point in smoothed(points)) >= 0.0


@pytest.mark.parametrize(
    "sizes", [[(64, 1)], [(64, 1), (64, 48), (16, 1), (16, 48)]], ids=["one", "four"]
)
def test_few_points_stay_as_they_were_measured(sizes: Sizes) -> None:
    bent = [Point(*size, CellTimes(size[0] ** 2, 1, 2, 3)) for size in sizes]

    assert smoothed(bent) == tuple(bent)


def test_points_of_one_number_of_rows_come_to_lie_on_a_line() -> None:
    sizes = [(4, steps) for steps in (1, 2, 4, 8, 16)]
    bent = [Point(*size, CellTimes(1.0 + size[1] + size[1] ** 2 / 40)) for size in sizes]

    ms = [point.times.forward_ms for point in smoothed(bent)]

    slopes = [(ms[i + 1] - ms[i]) / (sizes[i + 1][1] - sizes[i][1]) for i in range(4)]
    assert slopes == pytest.approx(4 * [slopes[0]])
    assert 1.0 < slopes[0] < 1.5


def test_rows_of_one_length_only_stay_as_they_were_measured() -> None:
    decoded = Point(64 * 12, 1, CellTimes(9.0, 9.0, 9.0, 9.0))
    points = on_surface(0.3, 0.001, 0.02, 0.001)

    found = smoothed([*points, decoded])

    assert found[-1] == decoded
    assert found[:-1] == smoothed(points)
