"""Weights that cuDNN has put into one piece of memory stay where they are."""

import pytest
import torch
from torch import nn

from gru_parallel.model.flat_weights import flatten_all, weights_in_order
from tests.cudnn_stand_in import refuse_what_cudnn_refuses

SIZE, N_LAYERS = 4, 8


@pytest.mark.parametrize("bias", [True, False])
def test_room_for_biases_is_no_reason_to_move(bias: bool) -> None:
    gru = nn.GRU(SIZE, SIZE, N_LAYERS, bias=bias)
    # Without biases cuDNN has room for them all the same.
    n_numbers = N_LAYERS * (2 * 3 * SIZE * SIZE + 2 * 3 * SIZE)
    place, piece = 0, torch.zeros(n_numbers)
    for weight in weights_in_order(gru):
        weight.data = piece[place : place + weight.numel()].view_as(weight)
        place += weight.numel()
    before = [weight.data_ptr() for weight in weights_in_order(gru)]

    with refuse_what_cudnn_refuses():
        flatten_all([gru], {})

    assert [weight.data_ptr() for weight in weights_in_order(gru)] == before


def test_a_piece_that_holds_others_too_is_left() -> None:
    gru = nn.GRU(SIZE, SIZE, bias=False)
    piece = torch.zeros(3 * 3 * SIZE * SIZE + 2 * 3 * SIZE)
    n_each = 3 * SIZE * SIZE
    for index, weight in enumerate(weights_in_order(gru)):
        weight.data = piece[index * n_each : (index + 1) * n_each].view_as(weight)

    with refuse_what_cudnn_refuses():
        flatten_all([gru], {})

    assert weights_in_order(gru)[0].data_ptr() != piece.data_ptr()
