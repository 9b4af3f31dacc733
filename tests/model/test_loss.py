"""Losses as sums and counts: whole batches give the mean, pieces add up to it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gru_parallel.errors import UsageError
from gru_parallel.model import LOSSES, SumLoss
from gru_parallel.model.loss import weighted_total

MEANS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "huber": functional.huber_loss,
    "cross_entropy": lambda p, t: functional.cross_entropy(p.flatten(0, -2), t.flatten()),
}


def make_case(name: str, every_step: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    # Three times as wide as usual, so that Huber has errors on both sides of its delta.
    prediction = 3 * torch.randn(6, 7, 4, generator=generator, dtype=torch.float64)
    if name == "cross_entropy":
        target = torch.randint(4, (6, 7), generator=generator)
    else:
        target = torch.randn(6, 7, 4, generator=generator, dtype=torch.float64)
    return (prediction, target) if every_step else (prediction[:, 0], target[:, 0])


def test_every_loss_is_compared_with_its_mean_here() -> None:
    assert set(LOSSES) == set(MEANS)
    assert all(loss.name == name for name, loss in LOSSES.items())


@pytest.mark.parametrize("every_step", [True, False])
@pytest.mark.parametrize("name", MEANS)
def test_total_over_count_is_the_mean(name: str, every_step: bool) -> None:
    prediction, target = make_case(name, every_step)
    loss = LOSSES[name]

    result = loss.total(prediction, target) / loss.count(target)

    torch.testing.assert_close(result, MEANS[name](prediction, target), rtol=1e-12, atol=0)


def test_cross_entropy_leaves_out_what_is_of_no_class_in_sum_and_count() -> None:
    prediction, target = make_case("cross_entropy", every_step=True)
    target[::2, 1:4] = -100
    loss = LOSSES["cross_entropy"]

    assert loss.count(target) == 42 - 9
    expected = MEANS["cross_entropy"](prediction, target)
    torch.testing.assert_close(loss.total(prediction, target) / loss.count(target), expected)
    weighted = weighted_total(loss, prediction, target, torch.ones(6, 7))
    torch.testing.assert_close(weighted / loss.count(target), expected)
    assert loss.total(prediction, torch.full_like(target, -100)) == 0


@pytest.mark.parametrize("every_step", [True, False])
@pytest.mark.parametrize("name", MEANS)
def test_each_row_and_step_counts_by_its_weight(name: str, every_step: bool) -> None:
    prediction, target = make_case(name, every_step)
    loss, shape = LOSSES[name], (6, 7) if every_step else (6,)
    weight = torch.arange(42.0).double()[: 42 if every_step else 6].reshape(shape)

    found = weighted_total(loss, prediction, target, weight)

    expected = sum(
        weight[at] * loss.total(prediction[at], target[at])
        for at in [(row, step) for row in range(6) for step in range(7)][:: 1 if every_step else 7]
        for at in [at if every_step else at[:1]]
    )
    torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-12, atol=0)
    alike = weighted_total(loss, prediction, target, torch.ones_like(weight))
    torch.testing.assert_close(alike, loss.total(prediction, target), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", MEANS)
def test_totals_of_ragged_pieces_add_up_to_the_whole(name: str) -> None:
    prediction, target = make_case(name, every_step=True)
    loss = LOSSES[name]

    pieces = [
        loss.total(prediction[rows][:, steps], target[rows][:, steps])
        for rows in (slice(0, 4), slice(4, 6))
        for steps in (slice(0, 3), slice(3, 6), slice(6, 7))
    ]

    expected = loss.total(prediction, target)
    torch.testing.assert_close(torch.stack(pieces).sum(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("every_step", [True, False])
@pytest.mark.parametrize("name", ["mse", "mae", "huber"])
def test_what_counts_0_changes_nothing_whatever_its_target(name: str, every_step: bool) -> None:
    weight = (torch.arange(42) % 3).double()[: 42 if every_step else 6]
    weight = weight.reshape((6, 7) if every_step else (6,))
    found = []
    for odd in (1.0, 1e6, 1e200, -math.inf, math.nan):
        prediction, target = make_case(name, every_step)
        prediction.requires_grad_()
        target[weight == 0] = odd
        total = weighted_total(LOSSES[name], prediction, target, weight)
        total.backward()
        assert prediction.grad is not None
        found.append((total.detach(), prediction.grad))
    for total, gradient in found[1:]:
        assert torch.equal(total, found[0][0])
        assert torch.equal(gradient, found[0][1])


@pytest.mark.parametrize(
    "total",
    [
        lambda p, t: (p - t)[t > 0].square().sum(),
        lambda p, t: (p - t).square().sum() * (2.0 if t.sum() > 0 else 1.0),
        lambda p, t: (p - t).square().sum() / t.max().item(),
        lambda p, t: float(p.shape[0] + t.shape[0]),
    ],
)
def test_a_loss_that_cannot_be_weighted_is_refused_by_its_name(
    total: Callable[[Tensor, Tensor], Tensor],
) -> None:
    prediction, target = make_case("mse", every_step=True)
    own = SumLoss("own", total, Tensor.numel)
    with pytest.raises(UsageError, match=r"loss own cannot be weighted \(data.weight, Windows"):
        weighted_total(own, prediction, target, torch.ones(6, 7))


def test_another_error_of_a_loss_with_weights_stays_as_it_is() -> None:
    prediction, target = make_case("mse", every_step=True)
    own = SumLoss("own", lambda p, t: (p[:3] - t[:2]).sum(), Tensor.numel)
    with pytest.raises(RuntimeError, match="size of tensor"):
        weighted_total(own, prediction, target, torch.ones(6, 7))


@pytest.mark.parametrize("weight", [None, torch.ones(6, 7)])
@pytest.mark.parametrize(
    ("total", "kind"),
    [
        (lambda p, t: (p - t).square(), r"a tensor of shape \(.*4,?\)"),
        (lambda p, t: (p - t).square().sum().reshape(1), r"a tensor of shape \(1,\)"),
    ],
)
def test_a_total_of_several_numbers_is_refused(
    total: Callable[[Tensor, Tensor], Tensor], kind: str, weight: Tensor | None
) -> None:
    prediction, target = make_case("mse", every_step=True)
    own = SumLoss("own", total, Tensor.numel)
    with pytest.raises(UsageError, match=rf"total of the loss own is {kind}, and has to be a"):
        weighted_total(own, prediction, target, weight)


def test_a_total_that_is_no_tensor_is_refused() -> None:
    prediction, target = make_case("mse", every_step=True)
    own = SumLoss("own", lambda p, t: (p - t).square().sum().item(), Tensor.numel)
    with pytest.raises(UsageError, match="total of the loss own is a float"):
        weighted_total(own, prediction, target, None)
