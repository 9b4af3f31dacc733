"""A rate that watches a metric does not move by what is no number."""

import math

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.training.optimizer_checks import check_watched


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_plateau_of_a_metric_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(UsageError, match=r"lr_scheduler\.monitor=val/mase .*=val/loss"):
        check_watched("val/mase", value)


def test_a_plateau_of_a_finite_metric_goes_on() -> None:
    check_watched("val/mase", 0.5)
