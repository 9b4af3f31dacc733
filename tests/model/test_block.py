"""GRUBlock against the nn.GRU of the same layers."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.errors import ShapeError
from gru_parallel.model import DropoutKey, GRUBlock, hidden

KEY = DropoutKey(seed=0, step=0, micro_batch=0, chunk=0)


def make_inputs(num_layers: int, n_steps: int = 5, batch_size: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n_steps, batch_size, 4, generator=generator)
    h_0 = torch.randn(num_layers, batch_size, 6, generator=generator)
    return x, h_0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_a_block_equals_nn_gru_bit_for_bit(num_layers: int, bias: bool) -> None:
    torch.manual_seed(0)
    block = GRUBlock(4, 6, num_layers, bias=bias, core="native")
    torch.manual_seed(0)
    gru = nn.GRU(4, 6, num_layers, bias=bias)
    x, h_0 = make_inputs(num_layers)

    y, h_n = block(x, h_0)

    expected_y, expected_h_n = gru(x, h_0)
    assert torch.equal(y, expected_y)
    assert torch.equal(h_n, expected_h_n)


def test_a_block_with_dropout_equals_nn_gru_in_evaluation() -> None:
    torch.manual_seed(0)
    block = GRUBlock(4, 6, 3, dropout=0.5, core="native").eval()
    torch.manual_seed(0)
    gru = nn.GRU(4, 6, 3, dropout=0.5).eval()
    x, h_0 = make_inputs(3)

    y, h_n = block(x, h_0, KEY)

    expected_y, expected_h_n = gru(x, h_0)
    assert torch.equal(y, expected_y)
    assert torch.equal(h_n, expected_h_n)


def test_chunks_one_after_another_equal_the_whole_sequence() -> None:
    block = GRUBlock(4, 6, 2)
    x, h_0 = make_inputs(2, n_steps=7)
    expected_y, expected_h_n = block(x, h_0)

    h = h_0
    outputs = []
    for start, stop in pairwise([0, 3, 4, 7]):
        y, h = block(x[start:stop], h)
        outputs.append(y)

    torch.testing.assert_close(torch.cat(outputs), expected_y, rtol=0, atol=1e-6)
    torch.testing.assert_close(h, expected_h_n, rtol=0, atol=1e-6)


def test_a_block_knows_its_layers_in_the_whole_stack() -> None:
    block = GRUBlock(4, 6, 2, first_layer=3, last=False, dropout=0.25)

    assert block.layers == range(3, 5)
    assert "layers 3-4, dropout=0.25" in repr(block)


def test_dropout_follows_a_block_inside_the_stack_and_not_the_last_one() -> None:
    x, h_0 = make_inputs(1)
    outputs = {}
    for last in (True, False):
        torch.manual_seed(0)
        outputs[last], h_n = GRUBlock(4, 6, last=last, dropout=0.5)(x, h_0, KEY)
        # Dropout takes from what goes on to the next layer, never from the state.
        assert not (h_n == 0).any()

    assert not (outputs[True] == 0).any()
    assert (outputs[False] == 0).any()


def test_the_state_of_zeros_has_the_blocks_shape_and_type() -> None:
    state = hidden.zeros(GRUBlock(4, 6, 2, dtype=torch.float64), batch_size=3)

    assert state.shape == (2, 3, 6)
    assert state.dtype == torch.float64
    assert not state.any()


@pytest.mark.parametrize(
    ("x_shape", "h_0_shape"),
    [
        pytest.param((5, 3, 7), (2, 3, 6), id="wrong input_size"),
        pytest.param((5, 4), (2, 5, 6), id="no batch"),
        pytest.param((5, 3, 4), (1, 3, 6), id="state for too few layers"),
        pytest.param((5, 3, 4), (2, 2, 6), id="state of another batch"),
        pytest.param((5, 3, 4), (2, 3, 5), id="state of another width"),
    ],
)
def test_shapes_that_do_not_fit_are_an_error_with_all_of_them(
    x_shape: tuple[int, ...], h_0_shape: tuple[int, ...]
) -> None:
    block = GRUBlock(4, 6, 2)

    with pytest.raises(ShapeError) as caught:
        block(torch.zeros(x_shape), torch.zeros(h_0_shape))

    for part in (str(x_shape), str(h_0_shape), "(time, batch, 4)", "(2, batch, 6)"):
        assert part in str(caught.value)


@pytest.mark.parametrize("probability", [-0.1, 1.5])
def test_dropout_has_to_be_a_probability(probability: float) -> None:
    with pytest.raises(ValueError, match=f"dropout={probability}"):
        GRUBlock(4, 6, dropout=probability)
