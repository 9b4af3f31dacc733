import numpy as np
import pytest

from gru_parallel.data.standardize import Standardizer
from gru_parallel.errors import UsageError

VALUES = np.random.default_rng(0).normal(5.0, 3.0, (200, 3))


def test_the_rows_it_was_fitted_on_get_mean_zero_and_deviation_one() -> None:
    standard = Standardizer.fit(VALUES).transform(VALUES)
    assert np.allclose(standard.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(standard.std(axis=0), 1, rtol=1e-12)


def test_inverse_undoes_transform() -> None:
    standardizer = Standardizer.fit(VALUES[:100])
    assert np.allclose(standardizer.inverse(standardizer.transform(VALUES)), VALUES, rtol=1e-12)


def test_inverse_of_some_columns_uses_their_own_scale() -> None:
    standardizer = Standardizer.fit(VALUES)
    some = standardizer.transform(VALUES)[:, [2, 0]]
    assert np.allclose(standardizer.inverse(some, [2, 0]), VALUES[:, [2, 0]], rtol=1e-12)


def test_a_constant_column_gets_scale_one() -> None:
    # The sum of a hundred times 0.1 is not ten, so the deviation alone would not be zero.
    standardizer = Standardizer.fit(np.full((100, 1), 0.1))
    assert standardizer.scale.tolist() == [1.0]
    assert abs(standardizer.transform(np.array([[1.1]]))[0, 0] - 1.0) < 1e-12


@pytest.mark.parametrize("unit", [1e-320, 1e300])
def test_a_column_whose_deviation_no_number_holds_is_refused_by_name(unit: float) -> None:
    values = np.array([[1.0, 0.5], [2.0, 1.5], [3.0, -2.5]]) * [1.0, unit]
    with pytest.raises(UsageError, match=r"column 'b' has the mean .* data\.columns"):
        Standardizer.fit(values).check(["a", "b"])
