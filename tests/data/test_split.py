import pytest
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.data.split import PARTS, split, split_series
from gru_parallel.errors import UsageError


def in_parts(*ranges: range) -> dict[str, range]:
    return dict(zip(PARTS, ranges, strict=True))


def error_of(n_rows: int, parts: list[float]) -> str:
    with pytest.raises(UsageError) as caught:
        split(n_rows, parts)
    return str(caught.value)


def test_fractions_that_add_up_to_one_use_every_row() -> None:
    assert split(10, [0.7, 0.1, 0.2]) == in_parts(range(7), range(7, 8), range(8, 10))


def test_fractions_may_leave_rows_unused() -> None:
    assert split(100, [0.5, 0.1, 0.1]) == in_parts(range(50), range(50, 60), range(60, 70))


def test_row_counts_are_taken_as_they_are() -> None:
    expected = in_parts(range(8640), range(8640, 11_520), range(11_520, 14_400))
    assert split(17_420, [8640, 2880, 2880]) == expected
    assert split(17_420, [8640.0, 2880.0, 2880.0]) == expected


@given(
    n_rows=st.integers(1, 10_000),
    weights=st.tuples(*[st.integers(1, 100)] * 3),
)
def test_fractions_of_the_whole_leave_no_gap(n_rows: int, weights: tuple[int, int, int]) -> None:
    parts = split(n_rows, [weight / sum(weights) for weight in weights])
    rows = [row for name in PARTS for row in parts[name]]
    assert rows == list(range(n_rows))


def test_other_than_three_parts_are_refused() -> None:
    assert error_of(10, [0.8, 0.2]) == (
        "data.split=[0.8,0.2] has 2 parts, not 3; give three fractions, as [0.7,0.1,0.2], or "
        "three row counts, as [8640,2880,2880]."
    )


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_a_part_that_is_negative_or_no_number_is_refused(bad: float) -> None:
    message = error_of(10, [0.8, bad, 0.2])
    assert message.startswith(f"data.split=[0.8,{bad},0.2] holds a part that is negative or no")


def test_all_rows_may_be_for_training_but_not_none() -> None:
    assert split(10, [1, 0, 0]) == in_parts(range(10), range(10, 10), range(10, 10))
    assert split(10, [0.9, 0, 0.1]) == in_parts(range(9), range(9, 9), range(9, 10))
    assert split(10, [6, 4, 0]) == in_parts(range(6), range(6, 10), range(10, 10))
    assert "data.split=[0,0.5,0.5] leaves nothing to train on" in error_of(10, [0, 0.5, 0.5])


def test_fractions_above_one_in_all_are_refused() -> None:
    assert error_of(10, [0.8, 0.2, 0.2]) == (
        "data.split=[0.8,0.2,0.2] adds up to 1.2 of the series; use fractions <= 1 in all."
    )


def test_row_counts_beyond_the_series_are_refused() -> None:
    assert error_of(100, [80, 20, 20]) == (
        "data.split=[80,20,20] takes 120 rows, more than the 100 of the series; use smaller "
        "counts, or fractions."
    )


@pytest.mark.parametrize("parts", [[0.7, 10, 20], [70.5, 10, 20]])
def test_a_mixture_is_refused(parts: list[float]) -> None:
    assert "is neither all fractions nor all row counts; give three" in error_of(100, parts)


def test_series_are_cut_by_fractions_and_by_counts() -> None:
    expected = in_parts(range(7), range(7, 8), range(8, 10))
    assert split_series(10, [0.7, 0.1, 0.2]) == expected
    assert split_series(10, [7, 1, 2]) == expected
    assert split_series(12, [7, 1, 2]) == expected


def test_a_series_with_too_few_rows_is_named() -> None:
    with pytest.raises(
        UsageError, match="takes 120 rows, more than the 100 of series 'north'; use"
    ):
        split(100, [80, 20, 20], whole="of series 'north'")


def test_nothing_to_train_on_will_do_where_nothing_is_trained() -> None:
    assert split(10, [0, 0.5, 0.5], trains=False)["validation"] == range(5)
    with pytest.raises(UsageError, match=r"data\.split=\[0,0,0\] leaves out all rows"):
        split(10, [0, 0, 0], trains=False)
