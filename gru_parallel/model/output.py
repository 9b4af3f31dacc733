"""Outputs of several numbers for each value: quantiles, and the numbers of distributions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor
from torch.distributions import NegativeBinomial, Normal
from torch.nn.functional import softplus

from gru_parallel.errors import ShapeError
from gru_parallel.model.loss import LOSSES, POINT, Output, SumLoss, wide
from gru_parallel.rules import check_quantiles

LEAST = 1e-4
"""Added to what has to be positive: below it, the likelihoods leave the range of numbers."""

_COUNTS_AT_ONCE, _MOST_COUNTS = 256, 2**20

_HALVINGS = 60
"""As often as an interval of float64 can be halved, and some."""


@dataclass(frozen=True)
class _OfLevels(Output):
    """An output that forecasts quantiles, and has the loss that its numbers are made for.

    Args:
        levels: ascending, above 0 and below 1.

    Raises:
        UsageError: the levels are something else.
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        check_quantiles(self.levels)

    @property
    def loss(self) -> SumLoss:
        """What is minimised."""
        return SumLoss(self.name, self._total, Tensor.numel)

    def _total(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.shape[:-1] != target.shape:
            raise ShapeError(
                f"Targets of shape {tuple(target.shape)} do not fit predictions of"
                f" {self.n_numbers} numbers each, shape {tuple(prediction.shape)}; give one number"
                f" for each value."
            )
        return self._sum(prediction, wide(target))

    @abstractmethod
    def _sum(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Add up the losses of all values."""

    def _numbers(self, scores: Tensor) -> Sequence[Tensor]:
        """Return the numbers of each value, each of shape (rows, time, targets)."""
        numbers: Tensor = wide(scores).unflatten(-1, (-1, self.n_numbers))
        return numbers.unbind(-1)


@dataclass(frozen=True)
class QuantileOutput(_OfLevels):
    """Quantiles, which never cross: the median, and positive steps from each to the next outer one.

    The steps are Park et al., Learning Quantile Functions without Quantile Crossing for
    Distribution-free Time Series Forecasting, AISTATS 2022 (arXiv:2111.06581), who begin at the
    lowest level; from the median, what is learned of one tail leaves the other alone. Additions
    round in one direction, so quantiles do not cross in any type; they may become equal. The point
    forecast is the median.

    Its loss is the pinball loss (Koenker and Bassett, Regression Quantiles, Econometrica 46, 1978),
    max(q e, (q - 1) e) with the error e = y - forecast, as the mean over the levels q.

    Raises:
        UsageError: the levels lack 0.5.
    """

    name = "quantile"
    point_name = "median"

    def __post_init__(self) -> None:
        check_quantiles(self.levels, needs_median=True)

    @property
    def n_numbers(self) -> int:
        """One for each level."""
        return len(self.levels)

    def prediction(self, scores: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return the quantiles by level; see `Output`."""
        quantiles = list(self._numbers(scores))
        median = self.levels.index(0.5)
        for above in range(median + 1, self.n_numbers):
            quantiles[above] = quantiles[above - 1] + softplus(quantiles[above])
        for below in reversed(range(median)):
            quantiles[below] = quantiles[below + 1] - softplus(quantiles[below])
        if scale is not None:
            quantiles = [quantile * scale for quantile in quantiles]
        return torch.stack(quantiles, -1)

    def forecast(self, prediction: Tensor) -> Tensor:
        """Return the median, and all quantiles; see `Output`."""
        median = self.levels.index(0.5)
        return torch.cat([prediction[..., median : median + 1], prediction], -1)

    def _sum(self, prediction: Tensor, target: Tensor) -> Tensor:
        return pinball(self.levels, prediction, target)


def pinball(levels: Sequence[float], quantiles: Tensor, target: Tensor) -> Tensor:
    """Add up the pinball loss of all values, its mean over the levels.

    Args:
        levels: of the quantiles.
        quantiles: by level in the last dimension.
        target: of the shape of the others.
    """
    totals = [errors.sum() for errors in pinball_by_level(levels, quantiles, target)]
    return torch.stack(totals).sum() / len(totals)


def pinball_by_level(
    levels: Sequence[float], quantiles: Tensor, target: Tensor
) -> Iterator[Tensor]:
    """Yield the pinball loss of each value, level by level; see `pinball`."""
    for level, quantile in zip(levels, quantiles.unbind(-1), strict=True):
        error = target - quantile
        yield torch.maximum(level * error, (level - 1) * error)


@dataclass(frozen=True)
class NormalOutput(_OfLevels):
    """Mean and deviation of a normal distribution; its loss is the negative log likelihood.

    The point forecast is the mean.
    """

    name = "normal"
    point_name = "mean"
    n_numbers = 2

    @property
    def steps(self) -> tuple[float, ...]:
        """Deviations from the mean to the quantile of each level."""
        return tuple(NormalDist().inv_cdf(level) for level in self.levels)

    def prediction(self, scores: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return mean and deviation; see `Output`."""
        mean, deviation = self._numbers(scores)
        both = torch.stack([mean, softplus(deviation) + LEAST], -1)
        return both if scale is None else both * scale.unsqueeze(-1)

    def forecast(self, prediction: Tensor) -> Tensor:
        """Return the mean, and the quantiles of the distribution; see `Output`."""
        mean, deviation = prediction.unbind(-1)
        return torch.stack([mean, *(mean + step * deviation for step in self.steps)], -1)

    def _sum(self, prediction: Tensor, target: Tensor) -> Tensor:
        mean, deviation = prediction.unbind(-1)
        likelihood: Tensor = Normal(mean, deviation, validate_args=False).log_prob(target)
        return -likelihood.sum()


@dataclass(frozen=True)
class NegativeBinomialOutput(_OfLevels):
    """Mean and dispersion of a negative binomial distribution of counts, as in DeepAR.

    Salinas et al., DeepAR: Probabilistic forecasting with autoregressive recurrent networks, Int.
    J. of Forecasting 36, 2020: with mean m and dispersion a, the variance is m + a m². In a window
    of the scale s, m is s times and a is 1 / sqrt(s) times what the head says. The loss is the
    negative log likelihood; the point forecast is the mean.
    """

    name = "negative_binomial"
    point_name = "mean"
    exported_names = ("mean", "dispersion")
    n_numbers = 2

    def prediction(self, scores: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return mean and dispersion; see `Output`."""
        mean, dispersion = (softplus(number) + LEAST for number in self._numbers(scores))
        if scale is not None:
            mean, dispersion = mean * scale, dispersion / scale.sqrt()
        return torch.stack([mean, dispersion], -1)

    def forecast(self, prediction: Tensor) -> Tensor:
        """Return the mean, and the quantiles of the distribution, whole numbers; see `Output`."""
        quantiles = self._quantiles(prediction).to(prediction.dtype)
        return torch.cat([prediction[..., :1], quantiles], -1)

    def point(self, prediction: Tensor) -> Tensor:
        """Return the mean; see `Output`."""
        return prediction[..., 0]

    def exported(self, prediction: Tensor) -> Tensor:
        """Return mean and dispersion: no format has a search for quantiles; see `Output`."""
        return prediction

    def _quantiles(self, prediction: Tensor) -> Tensor:
        """Count, for each level, the counts that are not as likely to be reached.

        The quantile of a level is the least count whose cumulative probability reaches it, so there
        are as many below it as that count says. It takes as many probabilities as the largest
        quantile; from `_MOST_COUNTS` on, quantiles are those of a gamma distribution.
        """
        counts = _distribution(prediction.unsqueeze(-2))
        levels = prediction.new_tensor(self.levels, dtype=torch.float64)
        found = levels.new_zeros(*prediction.shape[:-1], len(levels))
        reached = torch.zeros_like(found[..., :1])
        for first in range(0, _MOST_COUNTS, _COUNTS_AT_ONCE):
            values = torch.arange(first, first + _COUNTS_AT_ONCE, device=prediction.device)
            reached = reached[..., -1:] + counts.log_prob(values.double()).exp().cumsum(-1)
            found += (reached.unsqueeze(-2) < levels.unsqueeze(-1)).sum(-1)
            if not bool((reached[..., -1] < levels[-1]).any()):
                break
        beyond = found == _MOST_COUNTS
        if bool(beyond.any()):
            row = beyond.any(-1)
            found[row] = torch.where(beyond[row], _far_out(prediction[row], levels), found[row])
        # What is no number has no quantiles.
        return found + 0 * prediction[..., :1]

    def _sum(self, prediction: Tensor, target: Tensor) -> Tensor:
        likelihood: Tensor = _distribution(prediction).log_prob(target.double())
        return -likelihood.sum().to(prediction.dtype)


def _distribution(prediction: Tensor) -> NegativeBinomial:
    # In float64: of a small dispersion, differences of large logarithms are what counts.
    mean, dispersion = prediction.double().unbind(-1)
    return NegativeBinomial(1 / dispersion, logits=(mean * dispersion).log(), validate_args=False)


def _far_out(prediction: Tensor, levels: Tensor) -> Tensor:
    """Return the quantiles of negative binomial distributions beyond `_MOST_COUNTS`, nearly.

    A negative binomial distribution is a Poisson one whose mean has a gamma distribution (Johnson,
    Kemp and Kotz, Univariate Discrete Distributions, 2005, 5.3). Of counts so large the Poisson
    part is narrow, and a gamma distribution of the same mean and variance, read half a count
    further on, is off by about (z² - 1) / 6 counts (Cornish-Fisher), z deviations from the mean.

    Args:
        prediction: mean and dispersion, shape (n, 2).
        levels: ascending, in float64.

    Returns:
        Whole numbers in float64, shape (n, levels).
    """
    mean, dispersion = prediction.double().unsqueeze(-2).unbind(-1)
    spread = 1 + mean * dispersion
    # By Markov's inequality, no quantile is beyond that.
    low, high = torch.zeros_like(mean * levels), mean / (1 - levels)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_below = torch.special.gammainc(mean / spread, middle / spread) < levels
        low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
    return (high - 0.5).ceil().clamp(min=_MOST_COUNTS)


OUTPUTS: dict[str, type[_OfLevels]] = {
    output.name: output for output in (QuantileOutput, NormalOutput, NegativeBinomialOutput)
}
"""The outputs that have a loss of their own, by its name in the settings."""


def output_named(name: str, levels: Sequence[float]) -> Output:
    """Return the output of a loss: one of `OUTPUTS` with these levels, or the point forecast."""
    return OUTPUTS[name](tuple(levels)) if name in OUTPUTS else POINT


def loss_named(name: str, output: Output) -> SumLoss | None:
    """Return a loss of this library: that of an output, or one of `LOSSES`; None for another."""
    return output.loss if name == output.name else LOSSES.get(name)


def is_known(loss: SumLoss) -> bool:
    """Whether a loss is one of this library."""
    return LOSSES.get(loss.name) is loss or isinstance(
        getattr(loss.total, "__self__", None), Output
    )
