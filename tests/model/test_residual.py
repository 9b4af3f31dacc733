"""Residuals and norms: what layers compute with them, their names, and what they are for."""

from itertools import pairwise
from statistics import mean
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gru_parallel.errors import UsageError
from gru_parallel.model import GRUStack
from tests.builders import WIDTH, build_model, make_batch

DEEP: dict[str, Any] = {"residual": True, "norm": "layer"}


def in_plain_pytorch(state: dict[str, Tensor], x: Tensor, *, residual: bool, norm: bool) -> Tensor:
    """Run the layers of a state dict one by one, x + GRU(norm(x)), as modules of torch."""
    n_layers = sum(name.startswith("weight_ih_l") for name in state)
    for k in range(n_layers):
        own = {f"{kind}_l0": state[f"{kind}_l{k}"] for kind in _KINDS}
        gru = nn.GRU(own["weight_ih_l0"].shape[1], own["weight_hh_l0"].shape[1], dtype=x.dtype)
        normed = x
        if norm:
            layer_norm = nn.LayerNorm(x.shape[-1], dtype=x.dtype)
            of_norm = {name: state[f"norm_{name}_l{k}"] for name in ("weight", "bias")}
            normed = torch.func.functional_call(layer_norm, of_norm, normed)
        y, _ = torch.func.functional_call(gru, own, normed)
        x = x + y if residual and x.shape == y.shape else y
    return x


_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@pytest.mark.parametrize("layers_per_block", [1, 2, 4])
@pytest.mark.parametrize("core", ["native", "fused"])
@pytest.mark.parametrize(("residual", "norm"), [(True, True), (True, False), (False, True)])
def test_a_stack_computes_what_plain_pytorch_does_however_it_is_cut(
    layers_per_block: int, core: str, residual: bool, norm: bool
) -> None:
    options = {"residual": residual, "norm": "layer" if norm else "none", "core": core}
    stack = build_model(4, layers_per_block, **options).gru
    x = torch.randn(7, 5, WIDTH, dtype=torch.float64, requires_grad=True)
    state = stack.state_dict(keep_vars=True)
    weights = list(state.values())
    expected = in_plain_pytorch(state, x, residual=residual, norm=norm)
    expected_gradients = torch.autograd.grad(expected.square().sum(), [x, *weights])

    found = stack(x)[0]

    gradients = torch.autograd.grad(found.square().sum(), [x, *weights])
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    for one, other in zip(gradients, expected_gradients, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11)


def test_layers_per_block_do_not_change_a_bit() -> None:
    x, _ = make_batch(dtype=torch.float32)
    models = [build_model(4, n, dtype=torch.float32, **DEEP) for n in (1, 2, 4)]

    for one, other in pairwise(models):
        assert set(one.state_dict()) == set(other.state_dict())
        other.load_state_dict(one.state_dict())
        assert torch.equal(one(x), other(x))


def test_norms_are_called_by_their_layer_and_plain_weights_load() -> None:
    gru = nn.GRU(4, 6, 3)
    stack = GRUStack(4, 6, 3, 2, **DEEP)

    missing, unexpected = stack.load_state_dict(gru.state_dict(), strict=False)

    assert not unexpected
    assert {name.partition(".norm_")[1] for name in missing} == {".norm_"}
    named = {f"norm_{kind}_l{k}" for k in range(3) for kind in ("weight", "bias")}
    assert set(stack.state_dict()) - set(gru.state_dict()) == named
    assert torch.equal(stack.state_dict()["weight_hh_l2"], gru.weight_hh_l2)
    assert nn.GRU(4, 6, 3).load_state_dict(stack.state_dict(), strict=False).missing_keys == []


def test_residuals_alone_leave_the_state_dict_that_of_nn_gru() -> None:
    stack = GRUStack(4, 6, 3, 2, residual=True)

    assert list(stack.state_dict()) == list(nn.GRU(4, 6, 3).state_dict())


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model\.norm=batch is unknown; use one of none, layer"):
        GRUStack(4, 6, 3, norm="batch")


def loss_after_training(**options: Any) -> float:
    """Train 16 layers to give back the last of their inputs."""
    torch.manual_seed(0)
    stack, head = GRUStack(16, 16, 16, **options), nn.Linear(16, 16)
    optimizer = torch.optim.Adam([*stack.parameters(), *head.parameters()], lr=5e-3)
    losses = []
    for _ in range(50):
        x = torch.randn(6, 32, 16)
        loss = functional.mse_loss(head(stack(x)[0][-1]), x[-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return mean(losses[-10:])


@pytest.mark.long
def test_sixteen_layers_train_with_residuals_and_norms_and_do_not_without() -> None:
    # An error of 1 is that of the mean.
    assert loss_after_training(**DEEP) < 0.75
    assert loss_after_training() > 0.95
