"""The cost formulas against numbers worked out by hand, and against the real torch modules."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gru_parallel.model import GRUStack
from gru_parallel.placement import (
    LayerCost,
    ModelSpec,
    block_costs,
    cut_stack,
    gru_layer_cost,
    linear_cost,
)

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
    cost = gru_layer_cost(input_size=5, hidden_size=4, n_steps=3, batch_size=2)

    # 3 gates x 4 rows x (5 + 4) columns = 108 weights, each used on 3 x 2 = 6 rows.
    assert cost == LayerCost(
        forward_flops=2 * 108 * 6,
        backward_flops=4 * 108 * 6,
        n_parameters=108 + 24,
        activation_bytes=6 * (5 + 7 * 4) * 4,
        input_bytes=6 * 5 * 4,
        state_bytes=2 * 4 * 4,
    )


@pytest.mark.parametrize(("core", "n_kept", "n_waiting"), [("fused", 5, 1), ("lean", 1, 5)])
def test_cores_of_this_library_keep_less_and_lean_runs_forward_again(
    core: str, n_kept: int, n_waiting: int
) -> None:
    native = gru_layer_cost(input_size=5, hidden_size=4, n_steps=3, batch_size=2)

    cost = gru_layer_cost(5, 4, 3, 2, core=core)

    assert cost.activation_bytes == 6 * (5 + n_kept * 4) * 4
    assert cost.waiting_bytes == 6 * n_waiting * 4 * 4
    assert (native.start_bytes, cost.start_bytes) == (0, 2 * 4 * 4)
    n_products = {"fused": 2, "lean": 3}[core]
    assert cost.backward_flops == n_products * cost.forward_flops == n_products * 2 * 108 * 6


def test_a_gru_layer_of_equal_sizes_takes_36_flops_a_step_and_sample_and_squared_width() -> None:
    cost = gru_layer_cost(input_size=8, hidden_size=8, n_steps=7, batch_size=3)

    assert cost.total_flops == 36 * 7 * 3 * 8**2


@given(input_size=SIZES, hidden_size=SIZES)
def test_a_gru_layer_has_the_parameters_of_nn_gru(input_size: int, hidden_size: int) -> None:
    cost = gru_layer_cost(input_size, hidden_size, n_steps=1, batch_size=1)

    assert cost.n_parameters == n_parameters(nn.GRU(input_size, hidden_size))


@pytest.mark.parametrize(("input_size", "hidden_size"), [(16, 16), (3, 8), (12, 5)])
def test_a_gru_layer_keeps_the_activations_of_nn_gru(input_size: int, hidden_size: int) -> None:
    x = torch.randn(10, 4, input_size, requires_grad=True)

    cost = gru_layer_cost(input_size, hidden_size, 10, 4)

    assert cost.activation_bytes == saved_bytes(nn.GRU(input_size, hidden_size), x)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_blocks_with_norms_have_the_parameters_of_the_model(bidirectional: bool) -> None:
    options = {"bidirectional": bidirectional, "residual": True, "norm": "layer"}
    stack = GRUStack(6, 8, 5, 2, **options)
    blocks = cut_stack(6, 8, 5, 2, bidirectional=bidirectional)

    costs = block_costs(ModelSpec(blocks, has_residual=True, has_norm=True), 3, 4)

    assert [cost.n_parameters for cost in costs] == [n_parameters(b) for b in stack.gru_blocks]


def test_a_layer_with_a_norm_keeps_its_inputs_before_and_after_it() -> None:
    (plain,) = block_costs(ModelSpec(cut_stack(6, 8, 1)), 3, 4)
    (normed,) = block_costs(ModelSpec(cut_stack(6, 8, 1), has_norm=True), 3, 4)

    assert normed.activation_bytes - plain.activation_bytes == 3 * 4 * 6 * 4
    assert normed.input_bytes == plain.input_bytes


def test_a_linear_layer_costs_what_the_hand_computation_says() -> None:
    cost = linear_cost(in_features=4, out_features=3, n_rows=10)

    assert cost == LayerCost(
        forward_flops=2 * 4 * 3 * 10,
        backward_flops=4 * 4 * 3 * 10,
        n_parameters=4 * 3 + 3,
        activation_bytes=10 * 4 * 4,
        input_bytes=10 * 4 * 4,
    )


@given(in_features=SIZES, out_features=SIZES)
def test_a_linear_layer_has_the_parameters_of_nn_linear(
    in_features: int, out_features: int
) -> None:
    cost = linear_cost(in_features, out_features, n_rows=1)

    assert cost.n_parameters == n_parameters(nn.Linear(in_features, out_features))


def test_a_linear_layer_keeps_the_activations_of_nn_linear() -> None:
    x = torch.randn(10, 6, requires_grad=True)

    assert linear_cost(6, 3, 10).activation_bytes == saved_bytes(nn.Linear(6, 3), x)


def test_training_keeps_weights_gradients_and_two_moments() -> None:
    cost = LayerCost(0, 0, n_parameters=10, activation_bytes=100)

    assert cost.weight_bytes == 10 * 4 * (1 + 1 + 2)


def test_costs_add_up() -> None:
    assert LayerCost(1, 2, 3, 4) + LayerCost(10, 20, 30, 40) == LayerCost(11, 22, 33, 44)


def test_blocks_add_up_their_layers_and_the_last_may_hold_fewer() -> None:
    blocks = cut_stack(3, 4, num_layers=5, layers_per_block=2)
    first, other = gru_layer_cost(3, 4, 6, 2), gru_layer_cost(4, 4, 6, 2)

    assert block_costs(ModelSpec(blocks), 6, 2) == (first + other, other + other, other)


def test_directions_and_hand_overs_of_states_make_barriers_and_wider_layers() -> None:
    blocks = cut_stack(
        3, 4, 3, bidirectional=[True, False, False], h_0=["zeros", "zeros", "previous"]
    )

    assert block_costs(ModelSpec(blocks), 6, 2) == (
        gru_layer_cost(3, 4, 6, 2, bidirectional=True),
        gru_layer_cost(8, 4, 6, 2),
        gru_layer_cost(4, 4, 6, 2, is_barrier=True),
    )


def test_an_input_that_is_an_output_is_kept_once_on_one_stage() -> None:
    blocks = cut_stack(4, 4, 4, layers_per_block=2)
    first, second = block_costs(ModelSpec(blocks, core="lean"), 3, 1)

    # Inputs and two outputs, of 4 numbers each.
    assert first.activation_bytes == second.activation_bytes == 3 * 3 * 4 * 4
    assert (first + second).activation_bytes == 3 * 5 * 4 * 4
    (dropped,) = block_costs(ModelSpec(blocks[:1], core="lean", has_dropout=True), 3, 1)
    assert dropped.activation_bytes == 3 * 4 * 4 * 4


def test_what_another_layer_keeps_is_no_input_that_is_shared() -> None:
    blocks = cut_stack(4, 4, 3, bidirectional=[False, True, False])
    lean = block_costs(ModelSpec(blocks, core="lean"), 3, 1)
    one_way = block_costs(ModelSpec(cut_stack(4, 4, 2)), 3, 1, ["cuda:0", "cpu:0"])

    assert [cost.shares_input for cost in lean] == [False, False, False]
    assert [cost.shares_input for cost in one_way] == [False, False]


def test_auto_is_what_the_device_of_a_block_makes_of_it() -> None:
    blocks = cut_stack(4, 4, 2)
    native, fused = block_costs(ModelSpec(blocks), 3, 1, ["cuda:0", "cpu:0"])

    assert native.activation_bytes == 3 * 8 * 4 * 4
    assert fused.activation_bytes == 3 * 6 * 4 * 4


@pytest.mark.parametrize(("every_step", "head_rows"), [(False, 2), (True, 12)])
def test_the_encoder_counts_in_the_first_block_and_the_head_in_the_last(
    every_step: bool, head_rows: int
) -> None:
    blocks = cut_stack(3, 4, 2)
    first, last = block_costs(ModelSpec(blocks), 6, 2)

    assert block_costs(ModelSpec(blocks, 7, 5, every_step), n_steps=6, batch_size=2) == (
        linear_cost(7, 3, 12) + first,
        last + linear_cost(4, 5, head_rows),
    )
