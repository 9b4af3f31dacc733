"""Relative differences: of the largest entry, and never small by accident."""

import math

import pytest
import torch

from gru_parallel.verification.difference import (
    Differences,
    compare,
    difference,
    largest_of_each,
)
from gru_parallel.verification.sequences import Results


def test_a_difference_is_relative_to_the_largest_entry() -> None:
    expected = torch.tensor([1.0, -4.0])

    assert difference(expected + torch.tensor([0.0, 1.0]), expected) == 0.25


def test_equal_tensors_have_no_difference() -> None:
    assert difference(torch.zeros(3), torch.zeros(3)) == 0.0


def test_what_should_be_zero_differs_by_what_it_is() -> None:
    assert difference(torch.tensor([0.0, 0.5]), torch.zeros(2)) == 0.5


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_what_is_no_number_differs_infinitely(wrong: float) -> None:
    assert difference(torch.tensor([1.0, wrong]), torch.ones(2)) == math.inf
    assert difference(torch.ones(2), torch.tensor([1.0, wrong])) == math.inf


def test_another_shape_differs_infinitely() -> None:
    assert difference(torch.ones(1), torch.ones(2)) == math.inf


def test_the_largest_of_each_kind_is_taken_from_all() -> None:
    found = largest_of_each([Differences(1, 0, 3, 0, 5), Differences(0, 2, 0, 4, 0)])

    assert found == Differences(1, 2, 3, 4, 5)
    assert found.largest == 5


@pytest.mark.parametrize("n_weights", [1, 3])
def test_weights_without_a_gradient_differ_infinitely(n_weights: int) -> None:
    one = torch.ones(1)
    found, expected = (Results(one, one, one, one, (one,) * n) for n in (n_weights, 2))

    assert compare(found, expected) == Differences(0, 0, 0, 0, math.inf)
