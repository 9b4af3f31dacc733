"""The error by which MASE scales errors."""

import numpy as np
import pytest

from gru_parallel.data.naive_error import naive_error


def test_the_naive_error_is_that_of_one_step_a_season_ahead() -> None:
    history = np.array([[0.0], [1.0], [4.0], [9.0]])
    assert naive_error(history, None) == pytest.approx([3])
    assert naive_error(history, 2) == pytest.approx([6])
    assert np.isnan(naive_error(history, 4)).all()
    assert naive_error(np.ones((5, 2)), 1).tolist() == [0, 0]
