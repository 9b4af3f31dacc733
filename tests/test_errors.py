import pytest

from gru_parallel.errors import UsageError, check_positive


@pytest.mark.parametrize("size", [0, -3, True, 2.0, "4", None])
def test_what_is_not_a_size_is_refused(size: object) -> None:
    with pytest.raises(UsageError) as caught:
        check_positive("data.horizon", size)
    expected = f"data.horizon={size} is not a size; use a whole number of at least 1."
    assert str(caught.value) == expected


def test_a_size_is_a_whole_number_of_at_least_one() -> None:
    check_positive("data.horizon", 1)
