"""Outputs: quantiles never cross, losses are the textbook's, forecasts are the distribution's."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gru_parallel.choices import DISTRIBUTIONS
from gru_parallel.errors import ShapeError, UsageError
from gru_parallel.model import (
    LOSSES,
    OUTPUTS,
    NegativeBinomialOutput,
    NormalOutput,
    PointOutput,
    QuantileOutput,
)
from gru_parallel.model.loss import weighted_total
from gru_parallel.model.output import is_known, loss_named, output_named

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
TYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def scores(n_numbers: int, width: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(6, 7, 2 * n_numbers, generator=generator, dtype=torch.float64)
    return (width * drawn).to(dtype)


@pytest.mark.parametrize("width", [1.0, 30.0, 3000.0])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_quantiles_never_cross(dtype: torch.dtype, width: float) -> None:
    output = QuantileOutput(LEVELS)
    scale = torch.linspace(1e-3, 1e3, 6).reshape(6, 1, 1).to(dtype)

    for found in (
        output.prediction(scores(5, width, dtype)),
        output.prediction(scores(5, width, dtype), scale),
    ):
        assert found.shape == (6, 7, 2, 5)
        assert found.isfinite().all()
        # Also in the narrow type itself.
        for each in (found, found.to(dtype)):
            assert (each[..., :-1] <= each[..., 1:]).all()


def test_the_median_is_what_the_head_says_and_the_point_forecast() -> None:
    output = QuantileOutput(LEVELS)
    drawn = scores(5)
    prediction = output.prediction(drawn)

    forecast = output.forecast(prediction)

    assert torch.equal(prediction[..., 2], drawn.unflatten(-1, (2, 5))[..., 2])
    assert torch.equal(forecast[..., 0], prediction[..., 2])
    assert torch.equal(forecast[..., 1:], prediction)
    assert torch.equal(output.point(prediction), prediction[..., 2])


def test_the_loss_of_quantiles_is_the_pinball_loss() -> None:
    output = QuantileOutput((0.1, 0.5))
    prediction = torch.tensor([[[[1.0, 2.0]]]])

    def loss(y: float) -> float:
        return float(output.loss.total(prediction, torch.full((1, 1, 1), y)))

    # Below both, between them, and above both.
    assert loss(0.0) == pytest.approx((0.9 * 1 + 0.5 * 2) / 2)
    assert loss(1.5) == pytest.approx((0.1 * 0.5 + 0.5 * 0.5) / 2)
    assert loss(4.0) == pytest.approx((0.1 * 3 + 0.5 * 2) / 2)
    median = QuantileOutput((0.5,))
    errors = scores(1).unsqueeze(-1)
    half = LOSSES["mae"].total(errors[..., 0], torch.zeros(6, 7, 2)) / 2
    torch.testing.assert_close(median.loss.total(errors, torch.zeros(6, 7, 2)), half)


def test_the_loss_of_a_normal_distribution_is_its_negative_log_likelihood() -> None:
    output = NormalOutput(LEVELS)
    scale = torch.rand(6, 1, 2, dtype=torch.float64) + 0.5
    prediction = output.prediction(scores(2), scale)
    target = torch.randn(6, 7, 2, dtype=torch.float64)

    found = output.loss.total(prediction, target)

    mean, deviation = prediction.unbind(-1)
    expected = (target - mean).square() / (2 * deviation.square()) + deviation.log()
    expected = expected + math.log(2 * math.pi) / 2
    torch.testing.assert_close(found, expected.sum(), rtol=1e-12, atol=0)
    assert (deviation > 0).all()
    of_score = scores(2).unflatten(-1, (2, 2))
    torch.testing.assert_close(mean, of_score[..., 0] * scale)


def test_the_quantiles_of_a_normal_distribution_hold_their_share() -> None:
    output = NormalOutput((0.1, 0.5, 0.9))
    prediction = torch.tensor([[[[3.0, 2.0]]]], dtype=torch.float64)
    draws = 3 + 2 * np.random.default_rng(0).normal(size=200_000)

    forecast = output.forecast(prediction).flatten().tolist()

    assert forecast[0] == forecast[2] == 3.0
    for level, quantile in zip((0.1, 0.9), (forecast[1], forecast[3]), strict=True):
        assert np.mean(draws <= quantile) == pytest.approx(level, abs=0.003)


@pytest.mark.parametrize(
    ("mean", "dispersion"), [(0.3, 2.0), (4.0, 0.5), (40.0, 1e-4), (700.0, 0.2)]
)
def test_a_negative_binomial_has_its_mean_its_variance_and_its_quantiles(
    mean: float, dispersion: float
) -> None:
    output = NegativeBinomialOutput(LEVELS)
    prediction = torch.tensor([[[[mean, dispersion]]]], dtype=torch.float64)
    n = 1 / dispersion
    draws = np.random.default_rng(0).negative_binomial(n, n / (n + mean), size=100_000)
    counts = torch.arange(20_000, dtype=torch.float64)

    def probability(count: float) -> float:
        return math.exp(-float(output.loss.total(prediction, torch.full((1, 1, 1), count))))

    forecast = output.forecast(prediction).flatten().tolist()

    assert forecast[0] == mean
    of_all = torch.exp(
        torch.lgamma(counts + n)
        - torch.lgamma(counts + 1)
        - math.lgamma(n)
        + n * math.log(n / (n + mean))
        + counts * math.log(mean / (n + mean))
    )
    assert float((of_all * counts).sum()) == pytest.approx(mean, rel=1e-6)
    variance = float((of_all * (counts - mean).square()).sum())
    assert variance == pytest.approx(mean + dispersion * mean**2, rel=1e-6)
    assert probability(3.0) == pytest.approx(float(of_all[3]), rel=1e-6)
    reached = of_all.cumsum(0)
    for level, quantile in zip(LEVELS, forecast[1:], strict=True):
        assert quantile == int((reached < level).sum())
        assert quantile == pytest.approx(np.quantile(draws, level), abs=max(1.0, 0.03 * mean))


def test_a_window_of_larger_counts_has_a_larger_mean_and_less_dispersion() -> None:
    output = NegativeBinomialOutput(LEVELS)
    plain = output.prediction(scores(2))

    scaled = output.prediction(scores(2), torch.full((6, 1, 2), 9.0, dtype=torch.float64))

    torch.testing.assert_close(scaled[..., 0], 9 * plain[..., 0])
    torch.testing.assert_close(scaled[..., 1], plain[..., 1] / 3)


@pytest.mark.parametrize("name", OUTPUTS)
def test_each_row_and_step_counts_by_its_weight(name: str) -> None:
    output = output_named(name, LEVELS)
    assert output.loss is not None
    prediction = output.prediction(scores(output.n_numbers))
    target = torch.arange(84.0).reshape(6, 7, 2).double() % 5
    weight = torch.arange(42.0).reshape(6, 7)

    found = weighted_total(output.loss, prediction, target, weight)

    each = [
        weight[row, step] * output.loss.total(prediction[row, step], target[row, step])
        for row in range(6)
        for step in range(7)
    ]
    torch.testing.assert_close(found, torch.stack(each).sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("odd", [-1.0, 1e300, math.nan])
@pytest.mark.parametrize("name", OUTPUTS)
def test_what_counts_0_changes_nothing_whatever_its_target(name: str, odd: float) -> None:
    output = output_named(name, LEVELS)
    assert output.loss is not None
    weight = (torch.arange(42) % 3).double().reshape(6, 7)
    found = []
    for of_nothing in (3.0, odd):
        drawn = scores(output.n_numbers).requires_grad_()
        target = torch.arange(84.0).reshape(6, 7, 2).double() % 5
        target[weight == 0] = of_nothing
        total = weighted_total(output.loss, output.prediction(drawn), target, weight)
        total.backward()
        assert drawn.grad is not None
        found.append((total.detach(), drawn.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(*(gradient for _, gradient in found))


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_losses_and_their_gradients_are_finite_far_out(name: str, dtype: torch.dtype) -> None:
    output = output_named(name, LEVELS)
    drawn = scores(output.n_numbers, 100.0, dtype).requires_grad_()
    assert output.loss is not None

    loss = output.loss.total(
        output.prediction(drawn), torch.arange(84.0).reshape(6, 7, 2).to(dtype)
    )
    loss.backward()

    assert loss.isfinite()
    assert drawn.grad is not None
    assert drawn.grad.isfinite().all()


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_is_no_number_has_no_quantiles(name: str) -> None:
    output = output_named(name, LEVELS)
    nothing = torch.full((1, 1, output.n_numbers), math.nan)

    assert output.forecast(output.prediction(nothing)).isnan().all()


@pytest.mark.parametrize(
    "levels", [(), (0.0, 0.5), (0.5, 1.0), (0.9, 0.5), (0.5, 0.5), (math.nan,)]
)
@pytest.mark.parametrize("name", OUTPUTS)
def test_levels_ascend_between_0_and_1(name: str, levels: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"is not valid; use levels above 0 and below 1"):
        OUTPUTS[name](levels)


def test_quantiles_need_the_median_and_a_distribution_does_not() -> None:
    with pytest.raises(UsageError, match=r"lacks the median.+use model.quantiles=\[0.1,0.5,0.9\]"):
        QuantileOutput((0.1, 0.9))
    assert NormalOutput((0.1, 0.9)).levels == (0.1, 0.9)


@pytest.mark.parametrize("name", OUTPUTS)
def test_targets_have_to_fit(name: str) -> None:
    output = output_named(name, LEVELS)
    prediction = output.prediction(scores(output.n_numbers))
    assert output.loss is not None

    with pytest.raises(ShapeError, match="give one number for each value"):
        output.loss.total(prediction, torch.zeros(6, 7, 3))


def test_a_point_forecast_is_left_as_it_is() -> None:
    drawn, output = scores(1), PointOutput()

    assert output.prediction(drawn) is drawn
    assert output.forecast(drawn) is drawn
    assert output.point(drawn) is drawn
    assert output.loss is None
    assert output.shape_of((5, 2)) == (5, 2)


def test_names_lead_to_losses_and_losses_are_known() -> None:
    for name in OUTPUTS:
        output = output_named(name, LEVELS)
        loss = loss_named(name, output)
        assert loss is not None
        assert (loss.name, output.name) == (name, name)
        assert is_known(loss)
        assert output.shape_of((5, 2 * output.n_numbers)) == (5, 2, output.n_numbers)
        assert DISTRIBUTIONS.get(name, len(LEVELS)) == output.n_numbers
    for name in LOSSES:
        assert output_named(name, ()) == PointOutput()
        assert loss_named(name, PointOutput()) is LOSSES[name]
    assert loss_named("quantile", PointOutput()) is None


@pytest.mark.parametrize("dispersion", [1e-4, 0.01, 0.5, 3.0])
def test_quantiles_beyond_the_search_are_those_of_the_search_within_a_few_counts(
    dispersion: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = NegativeBinomialOutput(LEVELS)
    prediction = torch.tensor([[[[3e3, dispersion], [40.0, 0.1]]]], dtype=torch.float64)
    searched = output.forecast(prediction)
    monkeypatch.setattr("gru_parallel.model.output._MOST_COUNTS", 512)

    found = output.forecast(prediction)

    assert (found - searched).abs().max() <= 2
    assert torch.equal(found[found < 512], searched[searched < 512])
    assert torch.equal(found, found.round())


def test_intervals_of_counts_in_the_millions_lie_around_their_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gru_parallel.model.output._MOST_COUNTS", 512)
    mean = 3e6
    prediction = torch.tensor([[[[mean, 0.01], [math.nan, 0.01]]]], dtype=torch.float64)

    low, middle, high = NegativeBinomialOutput((0.1, 0.5, 0.9)).forecast(prediction)[0, 0, 0, 1:]

    # The deviation is a tenth of the mean, and the distribution nearly normal.
    assert low / mean == pytest.approx(1 - 0.128, abs=0.005)
    assert middle / mean == pytest.approx(1, abs=0.005)
    assert high / mean == pytest.approx(1 + 0.128, abs=0.005)
