import pytest

from benchmarks.gpu.budget import MIN_PATIENCE_S, PATIENCE, Budget, expected_s
from benchmarks.gpu.cases import Case, Way
from benchmarks.shapes import Shape
from tests.benchmarks.gpu_numbers import EAGER, TF32, UNCUT


class Hands:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_longer_and_wider_cases_are_expected_to_take_longer() -> None:
    long = Case(Way.NN_GRU, Shape(256, 64, 4096, 8), TF32)
    wide = Case(Way.NN_GRU, Shape(8192, 64, 512, 8), TF32)

    assert expected_s(EAGER) < expected_s(long)
    assert expected_s(EAGER) < expected_s(wide)
    # The steps before a capture and after it are steps, too.
    assert expected_s(EAGER) < expected_s(UNCUT)


def test_a_case_that_would_not_end_in_time_is_not_begun(hands: Hands) -> None:
    budget = Budget(10.0, hands)
    assert budget.allows(EAGER)

    hands.now = 10.0 - expected_s(EAGER) / 2

    assert not budget.allows(EAGER)


def test_cases_that_took_longer_than_expected_make_later_ones_expected_to(hands: Hands) -> None:
    budget = Budget(2.5 * expected_s(EAGER), hands)
    assert budget.allows(EAGER)

    budget.note(EAGER, 3 * expected_s(EAGER))

    assert not budget.allows(EAGER)


def test_cases_that_took_less_do_not_make_it_careless(hands: Hands) -> None:
    budget = Budget(expected_s(EAGER) * 0.9, hands)
    budget.note(EAGER, 0.1 * expected_s(EAGER))

    assert not budget.allows(EAGER)


def test_it_waits_for_a_case_that_hangs_until_its_end_at_most(hands: Hands) -> None:
    budget = Budget(1000.0, hands)
    assert budget.patience_s(EAGER) == max(MIN_PATIENCE_S, PATIENCE * expected_s(EAGER))

    hands.now = 999.0

    assert budget.patience_s(EAGER) == 1.0
