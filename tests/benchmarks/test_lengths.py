import pytest

from benchmarks.lengths import spread_lengths
from benchmarks.shapes import Shape


@pytest.mark.parametrize(
    ("batch_size", "n_steps", "expected"),
    [(4, 10, [1, 4, 7, 10]), (3, 6, [1, 4, 6]), (1, 7, [7]), (4, 2, [1, 2, 2, 2])],
)
def test_lengths_spread_evenly_from_one_to_all_steps(
    batch_size: int, n_steps: int, expected: list[int]
) -> None:
    assert sorted(spread_lengths(Shape(8, batch_size, n_steps, 2))) == expected


def test_the_order_is_mixed_and_always_the_same() -> None:
    shape = Shape(8, 32, 128, 2)
    lengths = spread_lengths(shape)
    assert lengths == spread_lengths(shape)
    assert list(lengths) not in (sorted(lengths), sorted(lengths, reverse=True))
