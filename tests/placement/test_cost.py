"""The cost formulas against numbers worked out by hand, and against the real torch modules."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gru_parallel.placement import LayerCost, costs_by_block, gru_layer_cost, linear_cost

SIZES = st.integers(min_value=1, max_value=20)


def n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def saved_bytes(module: nn.Module, x: Tensor) -> int:
    """Bytes that the module's forward keeps for its backward, its own weights left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        # The tensor itself is held, or its memory could be reused and counted only once.
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(x)
    return sum(tensor.untyped_storage().nbytes() for key, tensor in saved.items() if key not in own)


def test_a_gru_layer_costs_what_the_hand_computation_says() -> None:
    cost = gru_layer_cost("layer 0", input_size=5, hidden_size=4, n_steps=3, batch_size=2)

    # 3 gates x 4 rows x (5 + 4) columns = 108 weights, each used on 3 x 2 = 6 rows.
    assert cost == LayerCost(
        name="layer 0",
        forward_flops=2 * 108 * 6,
        backward_flops=4 * 108 * 6,
        n_parameters=108 + 24,
        activation_bytes=6 * (5 + 7 * 4) * 4,
        output_bytes=6 * 4 * 4,
    )


def test_a_gru_layer_of_equal_sizes_takes_36_flops_a_step_and_sample_and_squared_width() -> None:
    cost = gru_layer_cost("layer", input_size=8, hidden_size=8, n_steps=7, batch_size=3)

    assert cost.total_flops == 36 * 7 * 3 * 8**2


@given(input_size=SIZES, hidden_size=SIZES, bias=st.booleans())
def test_a_gru_layer_has_the_parameters_of_nn_gru(
    input_size: int, hidden_size: int, bias: bool
) -> None:
    cost = gru_layer_cost("layer", input_size, hidden_size, n_steps=1, batch_size=1, bias=bias)

    assert cost.n_parameters == n_parameters(nn.GRU(input_size, hidden_size, bias=bias))


@pytest.mark.parametrize(
    ("input_size", "hidden_size", "dtype"),
    [(16, 16, torch.float32), (3, 8, torch.float32), (12, 5, torch.float64)],
)
def test_a_gru_layer_keeps_the_activations_of_nn_gru(
    input_size: int, hidden_size: int, dtype: torch.dtype
) -> None:
    gru = nn.GRU(input_size, hidden_size).to(dtype)
    x = torch.randn(10, 4, input_size, dtype=dtype, requires_grad=True)

    cost = gru_layer_cost("layer", input_size, hidden_size, 10, 4, dtype.itemsize)

    assert cost.activation_bytes == saved_bytes(gru, x)


def test_a_linear_layer_costs_what_the_hand_computation_says() -> None:
    cost = linear_cost("head", in_features=4, out_features=3, n_rows=10, bytes_per_number=8)

    assert cost == LayerCost(
        name="head",
        forward_flops=2 * 4 * 3 * 10,
        backward_flops=4 * 4 * 3 * 10,
        n_parameters=4 * 3 + 3,
        activation_bytes=10 * 4 * 8,
        output_bytes=10 * 3 * 8,
    )


@given(in_features=SIZES, out_features=SIZES, bias=st.booleans())
def test_a_linear_layer_has_the_parameters_of_nn_linear(
    in_features: int, out_features: int, bias: bool
) -> None:
    cost = linear_cost("head", in_features, out_features, n_rows=1, bias=bias)

    assert cost.n_parameters == n_parameters(nn.Linear(in_features, out_features, bias=bias))


def test_a_linear_layer_keeps_the_activations_of_nn_linear() -> None:
    x = torch.randn(10, 6, requires_grad=True)

    assert linear_cost("head", 6, 3, 10).activation_bytes == saved_bytes(nn.Linear(6, 3), x)


def test_memory_is_weights_gradients_two_moments_and_activations() -> None:
    cost = LayerCost("layer", 0, 0, n_parameters=10, activation_bytes=100, output_bytes=0)

    assert cost.memory_bytes() == 10 * 4 * (1 + 1 + 2) + 100
    assert cost.memory_bytes(bytes_per_number=8) == 10 * 8 * (1 + 1 + 2) + 100


def test_adding_two_costs_adds_all_but_the_output_which_is_the_second_ones() -> None:
    first = LayerCost("layer 0", 1, 2, 3, 4, output_bytes=5)
    second = LayerCost("layer 1", 10, 20, 30, 40, output_bytes=50)

    assert first + second == LayerCost("layer 0+layer 1", 11, 22, 33, 44, output_bytes=50)


def named(name: str) -> LayerCost:
    return LayerCost(name, 1, 2, 3, 4, 5)


def test_blocks_add_up_their_layers_and_the_last_may_hold_fewer() -> None:
    layers = [named(str(layer)) for layer in range(5)]

    assert costs_by_block(layers, 2) == (
        layers[0] + layers[1],
        layers[2] + layers[3],
        layers[4],
    )


def test_the_encoder_counts_in_the_first_block_and_the_head_in_the_last() -> None:
    layers = [named(str(layer)) for layer in range(3)]

    blocks = costs_by_block(layers, 1, encoder=named("encoder"), head=named("head"))

    assert [block.name for block in blocks] == ["encoder+0", "1", "2+head"]
    assert [block.total_flops for block in blocks] == [6, 3, 6]


def test_one_block_holds_encoder_layers_and_head() -> None:
    (block,) = costs_by_block([named("0")], 4, encoder=named("encoder"), head=named("head"))

    assert block.name == "encoder+0+head"
