"""PackedSequence in and out."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from gru_parallel.schedule import SCHEDULES
from tests.dropin.twins import CUTS, assert_same, gradients, make_twins, make_x, weighted_sum


def pack(lengths: list[int], *, is_sorted: bool, seed: int = 2) -> PackedSequence:
    rows = [make_x(length, 3, seed=seed + row) for row, length in enumerate(lengths)]
    if is_sorted:
        rows.sort(key=len, reverse=True)
    return pack_sequence(rows, enforce_sorted=is_sorted)


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    is_sorted=st.booleans(),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    has_h_0=st.booleans(),
    used=st.sampled_from([(0,), (1,), (0, 1)]),
    device_map=st.sampled_from([None, ["cpu:0", "cpu:0"], ["cpu:0", "cpu:1"]]),
    n_micro_batches=st.integers(1, 4),
    n_chunks=st.integers(1, 5),
    schedule=st.sampled_from(list(SCHEDULES)),
)
def test_packed_sequences_come_out_as_from_nn_gru(
    lengths: list[int],
    is_sorted: bool,
    bidirectional: bool,
    batch_first: bool,
    has_h_0: bool,
    used: tuple[int, ...],
    **extras: Any,
) -> None:
    twins = make_twins(extras, bidirectional=bidirectional, batch_first=batch_first)
    found = []
    for gru in twins:
        packed = pack(lengths, is_sorted=is_sorted)
        x = packed.data.requires_grad_()
        n_states = 4 if bidirectional else 2
        h_0 = make_x(n_states, len(lengths), 4, seed=9).requires_grad_() if has_h_0 else None
        output, h_n = gru(packed, h_0)
        assert isinstance(output, PackedSequence)
        weighted_sum([(output.data, h_n)[index] for index in used]).backward()
        found.append([*output, h_n, x.grad, None if h_0 is None else h_0.grad, *gradients(gru)])

    assert_same(*found)


@pytest.mark.parametrize("cut", CUTS)
def test_the_gradient_goes_through_packing_to_the_padded_input(cut: str) -> None:
    twins = make_twins(CUTS[cut])
    found = []
    for gru in twins:
        x = make_x(5, 3, 3).requires_grad_()
        packed = pack_padded_sequence(x, torch.tensor([2, 5, 1]), enforce_sorted=False)
        output, h_n = gru(packed)
        weighted_sum([output.data, h_n]).backward()
        found.append([x.grad, *gradients(gru)])

    assert_same(*found)


@pytest.mark.parametrize("cut", CUTS)
def test_packed_sequences_of_one_length_are_like_any_batch(cut: str) -> None:
    plain, ours = make_twins(CUTS[cut])
    packed = pack([4, 4, 4], is_sorted=True)

    assert_same(ours(packed), plain(packed))


def test_without_gradients_packed_sequences_come_out_the_same() -> None:
    plain, ours = make_twins(CUTS["two devices, zero bubble"], bidirectional=True)
    packed = pack([2, 6, 1, 3], is_sorted=False)

    with torch.inference_mode():
        assert_same(ours(packed), plain(packed))
