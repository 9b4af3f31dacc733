"""State dicts speak nn.GRU: one checkpoint for any cut, and for a plain nn.GRU."""

from itertools import product

import pytest
import torch
from torch import nn

from gru_parallel.model import GRUStack, StackModel, WindowHead

CUTS = [(1, 0.0), (2, 0.0), (5, 0.0), (1, 0.3), (2, 0.3), (5, 0.3)]
"""(layers_per_block, dropout): with dropout a block is made of other parts."""


def make_stack(layers_per_block: int, dropout: float, seed: int, *, bias: bool = True) -> GRUStack:
    torch.manual_seed(seed)
    return GRUStack(4, 6, 5, layers_per_block, dropout=dropout, bias=bias, core="native")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("layers_per_block", "dropout"), CUTS)
def test_the_keys_are_those_of_nn_gru_in_their_order(
    layers_per_block: int, dropout: float, bias: bool
) -> None:
    stack = make_stack(layers_per_block, dropout, seed=0, bias=bias)

    assert list(stack.state_dict()) == list(nn.GRU(4, 6, 5, bias=bias).state_dict())


@pytest.mark.parametrize(("layers_per_block", "dropout"), CUTS)
def test_a_stack_loads_into_nn_gru_and_gives_the_same_outputs(
    layers_per_block: int, dropout: float
) -> None:
    stack = make_stack(layers_per_block, dropout, seed=0).eval()
    gru = nn.GRU(4, 6, 5)

    gru.load_state_dict(stack.state_dict())

    x = torch.randn(7, 3, 4)
    assert torch.equal(gru(x)[0], stack(x)[0])


@pytest.mark.parametrize(("layers_per_block", "dropout"), CUTS)
def test_nn_gru_loads_into_a_stack(layers_per_block: int, dropout: float) -> None:
    torch.manual_seed(1)
    gru = nn.GRU(4, 6, 5)
    stack = make_stack(layers_per_block, dropout, seed=0).eval()

    stack.load_state_dict(gru.state_dict())

    x = torch.randn(7, 3, 4)
    assert torch.equal(stack(x)[0], gru(x)[0])


@pytest.mark.parametrize(("source", "target"), list(product(CUTS, CUTS)))
def test_a_stack_loads_under_any_other_cut(
    source: tuple[int, float], target: tuple[int, float]
) -> None:
    saved = make_stack(*source, seed=0)
    loaded = make_stack(*target, seed=1)

    loaded.load_state_dict(saved.state_dict())

    pairs = zip(loaded.parameters(), saved.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_model_keeps_the_names_of_nn_gru_under_the_stacks_own_prefix() -> None:
    model = StackModel(nn.Linear(3, 4), make_stack(2, 0.0, seed=0), WindowHead(6, (2,)))

    names = list(nn.GRU(4, 6, 5).state_dict())
    assert list(model.state_dict()) == [
        "encoder.weight",
        "encoder.bias",
        *(f"gru.{name}" for name in names),
        "head.linear.weight",
        "head.linear.bias",
    ]


def test_saving_and_loading_leave_the_callers_dict_alone() -> None:
    gru = nn.GRU(4, 6, 5)
    state = gru.state_dict()
    keys = list(state)

    make_stack(2, 0.0, seed=0).load_state_dict(state)

    assert list(state) == keys


def test_entries_that_are_missing_or_unknown_are_named() -> None:
    stack = make_stack(2, 0.0, seed=0)
    state = stack.state_dict()
    state["weight_ih_l5"] = state.pop("weight_ih_l4")

    with pytest.raises(RuntimeError) as caught:
        stack.load_state_dict(state)

    assert 'Unexpected key(s) in state_dict: "weight_ih_l5"' in str(caught.value)
    assert "Missing key(s)" in str(caught.value)
