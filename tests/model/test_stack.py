"""GRUStack is one nn.GRU, however it is cut; StackModel is encoder -> blocks -> head."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.errors import ShapeError
from gru_parallel.model import GRUStack, StackModel, WindowHead

CUTS = {1: [1, 1, 1, 1, 1], 2: [2, 2, 1], 3: [3, 2], 5: [5], 9: [5]}
"""layers_per_block -> the layers of each block, of five layers."""


def make_pair(layers_per_block: int, **options: Any) -> tuple[GRUStack, nn.GRU]:
    """A stack and an nn.GRU drawn from the same seed."""
    torch.manual_seed(5)
    # Another core gives other bits than torch's operator.
    stack = GRUStack(4, 6, 5, layers_per_block, core="native", **options)
    torch.manual_seed(5)
    return stack, nn.GRU(4, 6, 5, **options)


def make_inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(7, 3, 4, generator=generator)
    h_0 = torch.randn(5, 3, 6, generator=generator)
    return x, h_0


def run_with_gradients(
    module: nn.Module, x: Tensor, h_0: Tensor | None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Outputs, h_n, and the gradients of x, h_0 and all parameters of a sum that uses both."""
    x = x.clone().requires_grad_()
    h_0 = None if h_0 is None else h_0.clone().requires_grad_()
    y, h_n = module(x, h_0)
    total = (y * torch.arange(y.numel()).view_as(y)).sum() + h_n.square().sum()
    sources = [x, *([] if h_0 is None else [h_0]), *module.parameters()]
    return y, h_n, list(torch.autograd.grad(total, sources))


@pytest.mark.parametrize("layers_per_block", CUTS)
def test_layers_are_cut_into_blocks_and_the_last_takes_what_is_left(layers_per_block: int) -> None:
    stack = GRUStack(4, 6, 5, layers_per_block)

    assert [block.num_layers for block in stack.gru_blocks] == CUTS[layers_per_block]
    assert [layer for block in stack.gru_blocks for layer in block.layers] == list(range(5))
    assert [block.last for block in stack.gru_blocks] == [
        *[False] * (len(CUTS[layers_per_block]) - 1),
        True,
    ]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("with_h_0", [True, False])
@pytest.mark.parametrize("layers_per_block", CUTS)
def test_a_stack_equals_nn_gru_bit_for_bit_however_it_is_cut(
    layers_per_block: int, with_h_0: bool, bias: bool
) -> None:
    stack, gru = make_pair(layers_per_block, bias=bias)
    x, h_0 = make_inputs()

    y, h_n, gradients = run_with_gradients(stack, x, h_0 if with_h_0 else None)

    expected_y, expected_h_n, expected = run_with_gradients(gru, x, h_0 if with_h_0 else None)
    assert torch.equal(y, expected_y)
    assert torch.equal(h_n, expected_h_n)
    assert len(gradients) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_the_same_seed_draws_the_same_weights_however_the_stack_is_cut(dropout: float) -> None:
    _, gru = make_pair(1)
    for layers_per_block in CUTS:
        stack, _ = make_pair(layers_per_block, dropout=dropout)

        weights = list(stack.parameters())
        assert all(torch.equal(a, b) for a, b in zip(weights, gru.parameters(), strict=True))


def test_parameters_have_the_type_that_was_asked_for() -> None:
    stack = GRUStack(4, 6, 3, dtype=torch.float64)

    assert {parameter.dtype for parameter in stack.parameters()} == {torch.float64}


def test_h_0_for_another_number_of_layers_is_an_error() -> None:
    stack = GRUStack(4, 6, 5, 2)

    with pytest.raises(ShapeError, match=r"\(4, 3, 6\) does not fit; use \(5, batch, 6\)"):
        stack(torch.zeros(7, 3, 4), torch.zeros(4, 3, 6))


def test_the_model_is_encoder_then_stack_then_head_batch_first() -> None:
    torch.manual_seed(0)
    model = StackModel(nn.Linear(3, 4), GRUStack(4, 6, 2), WindowHead(6, (5, 2)))
    x = torch.randn(8, 7, 3)

    prediction = model(x)

    y, _ = model.gru(model.encoder(x.transpose(0, 1)))
    assert prediction.shape == (8, 5, 2)
    assert torch.equal(prediction, model.head(y))


def test_a_model_without_an_encoder_reads_the_windows_themselves() -> None:
    torch.manual_seed(0)
    model = StackModel(nn.Identity(), GRUStack(3, 6, 2), WindowHead(6, (2,)))
    x = torch.randn(8, 7, 3)

    y, _ = model.gru(x.transpose(0, 1))

    assert torch.equal(model(x), model.head(y))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False, "dtype": torch.float64},
        {"layers_per_block": 2},
        {"bidirectional": True},
        {"bidirectional": [False, True, False, True, True], "h_0": "learned"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kept", [(0, 1), (2,), (1, 2), ()], ids=str)
def test_kept_blocks_have_the_bits_that_they_have_in_the_whole_stack(
    kept: tuple[int, ...], options: dict[str, Any]
) -> None:
    torch.manual_seed(5)
    whole = GRUStack(4, 6, 5, **options)
    drawn_next = torch.rand(1)

    torch.manual_seed(5)
    part = GRUStack(4, 6, 5, **options, kept_blocks=kept)

    # What is drawn next, a head's weights say, is the same too.
    assert torch.equal(torch.rand(1), drawn_next)
    for index, (own, block) in enumerate(zip(part.gru_blocks, whole.gru_blocks, strict=True)):
        expected = dict(block.named_parameters())
        assert [name for name, _ in own.named_parameters()] == list(expected)
        for name, weight in own.named_parameters():
            assert weight.dtype == expected[name].dtype
            assert weight.shape == expected[name].shape
            assert weight.is_meta == (index not in kept)
            assert weight.is_meta or torch.equal(weight, expected[name])
