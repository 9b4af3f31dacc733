"""What each value adds to a metric comes to what a test measures, and to what numpy says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gru_parallel.choices import metric_names
from gru_parallel.training.compared import Compared
from gru_parallel.training.forecast_metrics import ForecastMetrics
from gru_parallel.training.value_metrics import value_metrics

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def drawn() -> Compared:
    """Draw forecasts of (windows, steps, targets); the naive error of some series is unknown."""
    generator = torch.Generator().manual_seed(0)
    shape = (6, 4, 2)
    target = torch.randn(shape, generator=generator)
    quantiles = torch.randn(*shape, len(LEVELS), generator=generator).sort(-1).values
    # A bound belongs to its interval.
    quantiles[0, 0, 0, 0] = target[0, 0, 0]
    naive = torch.rand(6, 1, 2, generator=generator)
    naive[0, 0, 0], naive[1, 0, 1] = torch.nan, 0.0
    point = quantiles[..., 2]
    return Compared(
        point,
        target,
        quantiles,
        10 * point.double() + 3,
        10 * target.double() + 3,
        naive.expand(shape),
    )


def test_means_of_what_each_value_adds_are_the_metrics_of_a_test() -> None:
    compared, metrics = drawn(), ForecastMetrics(LEVELS)
    for _ in metrics.count(torch.tensor(0.0), 1, compared):
        pass

    found = value_metrics(compared, LEVELS)

    means = {
        name: float(values.double().sum() / counts.sum())
        for name, (values, counts) in found.items()
    }
    assert set(means) == {*metric_names(LEVELS)} - {"rmse"}
    for name, mean in means.items():
        assert mean == pytest.approx(float(metrics[name].compute()), rel=1e-6)


def test_each_value_adds_what_the_textbooks_say() -> None:
    compared = drawn()
    assert compared.quantiles is not None
    assert compared.naive_error is not None
    y, f, naive = (
        tensor.double().numpy()
        for tensor in (compared.target, compared.point, compared.naive_error)
    )
    q = compared.quantiles.double().numpy()
    in_units = np.abs(10 * f + 3), np.abs(10 * y + 3)
    scaled = np.abs(y - f) / np.where(naive > 0, naive, np.nan)
    pinball = [
        np.where(y > q[..., k], level * (y - q[..., k]), (1 - level) * (q[..., k] - y))
        for k, level in enumerate(LEVELS)
    ]
    expected = {
        "mse": (y - f) ** 2,
        "mae": np.abs(y - f),
        "smape": 20 * np.abs(f - y) / sum(in_units),
        "mase": np.where(naive > 0, scaled, 0),
        "pinball": np.mean(pinball, axis=0),
        "coverage_80": (q[..., 0] <= y) & (y <= q[..., 4]),
        "coverage_50": (q[..., 1] <= y) & (y <= q[..., 3]),
    }

    found = value_metrics(compared, LEVELS)

    assert list(found) == list(expected)
    for name, (values, counts) in found.items():
        np.testing.assert_allclose(values.numpy(), expected[name], rtol=1e-5, atol=1e-7)
        assert (counts.numpy() == ((naive > 0) if name == "mase" else True)).all()
    assert not found["mase"].counts.all()


def test_in_other_standardised_units_only_what_has_units_changes() -> None:
    compared, ratio = drawn(), torch.tensor([2.0, 0.5])

    before, now = (value_metrics(each, LEVELS) for each in (compared, compared.in_scale_of(ratio)))

    factors = {"mse": ratio**2, "mae": ratio, "pinball": ratio}
    for name, (values, counts) in now.items():
        was = before[name].values
        torch.testing.assert_close(values, was * factors[name] if name in factors else was)
        assert torch.equal(counts, before[name].counts)


def test_what_is_not_known_is_not_measured() -> None:
    plain = replace(drawn(), quantiles=None, naive_error=None).in_scale_of(torch.ones(2))

    assert list(value_metrics(plain, ())) == ["mse", "mae", "smape"]
