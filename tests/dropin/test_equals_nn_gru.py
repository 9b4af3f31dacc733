"""Outputs, h_n and every gradient, against nn.GRU, over random shapes and options."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gru_parallel import GRU
from gru_parallel.schedule import SCHEDULES
from tests.dropin.twins import CUTS, assert_same, gradients, make_twins, make_x, weighted_sum


@dataclass(frozen=True)
class Case:
    """One way to make a GRU, to cut it, to call it and to use what comes out."""

    options: dict[str, Any]
    extras: dict[str, Any]
    x_shape: tuple[int, ...]
    h_0_shape: tuple[int, ...] | None
    x_needs_gradient: bool
    h_0_needs_gradient: bool
    used: tuple[int, ...]
    frozen: frozenset[int]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    num_layers = draw(st.integers(1, 4))
    blocks = draw(st.integers(1, num_layers + 1))
    both_ways = draw(st.booleans())
    options = {
        "input_size": draw(st.integers(1, 4)),
        "hidden_size": draw(st.integers(1, 5)),
        "num_layers": num_layers,
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": both_ways,
    }
    extras = {
        "blocks": blocks,
        "device_map": draw(device_maps(n_blocks=-(-num_layers // blocks))),
        "n_micro_batches": draw(st.integers(1, 4)),
        "n_chunks": draw(st.one_of(st.none(), st.integers(1, 5))),
        "schedule": draw(st.sampled_from(list(SCHEDULES))),
    }
    n_steps, batch = draw(st.integers(1, 6)), draw(st.one_of(st.none(), st.integers(1, 5)))
    sizes = [n_steps] if batch is None else [n_steps, batch]
    x_shape = (*(reversed(sizes) if options["batch_first"] else sizes), options["input_size"])
    n_states = num_layers * (2 if both_ways else 1)
    h_0_shape = (n_states, *([] if batch is None else [batch]), options["hidden_size"])
    n_weights = n_states * (4 if options["bias"] else 2)
    return Case(
        options,
        extras,
        x_shape,
        draw(st.sampled_from([None, h_0_shape])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([(0,), (1,), (0, 1)])),
        draw(st.one_of(st.just(frozenset()), st.frozensets(st.integers(0, n_weights - 1)))),
    )


@st.composite
def device_maps(draw: st.DrawFn, n_blocks: int) -> object:
    """None, "auto", one device, ranges, or a list in which no device comes back."""
    last = n_blocks - 1
    ends = draw(st.lists(st.integers(0, last), min_size=n_blocks, max_size=n_blocks).map(sorted))
    ranges = {"0": "cpu:0", f"1-{last}": "cpu:1"} if last > 0 else {"0": "cpu:0"}
    listed = [f"cpu:{index}" for index in ends]
    return draw(st.sampled_from([None, "auto", {f"0-{last}": "cpu:0"}, ranges, listed]))


def results(gru: nn.GRU, case: Case) -> list[object]:
    """Call a GRU, go back from what is used, and return all that there is to compare."""
    x = make_x(*case.x_shape).requires_grad_(case.x_needs_gradient)
    h_0 = None if case.h_0_shape is None else make_x(*case.h_0_shape, seed=3)
    if h_0 is not None:
        h_0.requires_grad_(case.h_0_needs_gradient)
    for index, parameter in enumerate(gru.parameters()):
        parameter.requires_grad_(index not in case.frozen)
    out = gru(x, h_0)
    used = [out[index] for index in case.used]
    flags = [tensor.requires_grad for tensor in out]
    if any(flags):
        weighted_sum(used).backward()
    return [*out, *flags, x.grad, None if h_0 is None else h_0.grad, *gradients(gru)]


@settings(max_examples=40)
@given(cases())
def test_outputs_states_and_gradients_equal_those_of_nn_gru(case: Case) -> None:
    plain, ours = make_twins(case.extras, **case.options)

    assert_same(results(ours, case), results(plain, case))


@settings(max_examples=10)
@given(cases(), st.sampled_from([torch.no_grad, torch.inference_mode]))
def test_without_gradients_the_numbers_are_the_same_and_nothing_needs_one(
    case: Case, mode: Any
) -> None:
    plain, ours = make_twins(case.extras, **case.options)
    x = make_x(*case.x_shape)

    with mode():
        expected, actual = plain(x), ours(x)

    assert_same(actual, expected)
    assert not any(tensor.requires_grad for tensor in actual)
    assert [t.is_inference() for t in actual] == [t.is_inference() for t in expected]


@pytest.mark.parametrize("cut", CUTS)
def test_dropout_does_nothing_in_evaluation(cut: str) -> None:
    plain, ours = make_twins(CUTS[cut], dropout=0.5)
    x = make_x()

    assert_same(ours.eval()(x), plain.eval()(x))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cut", CUTS)
def test_outputs_lie_in_memory_as_those_of_nn_gru(
    cut: str, bidirectional: bool, batch_first: bool
) -> None:
    plain, ours = make_twins(CUTS[cut], batch_first=batch_first, bidirectional=bidirectional)
    x = make_x()

    assert [t.stride() for t in ours(x)] == [t.stride() for t in plain(x)]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cut", CUTS)
def test_a_batch_of_no_rows_is_as_in_nn_gru(
    cut: str, bidirectional: bool, batch_first: bool
) -> None:
    twins = make_twins(CUTS[cut], batch_first=batch_first, bidirectional=bidirectional)
    shape = (0, 5, 3) if batch_first else (5, 0, 3)
    found = []
    for gru in twins:
        x = make_x(*shape).requires_grad_()
        y, h_n = gru(x)
        (y.sum() + h_n.sum()).backward()
        found.append([y, h_n, x.grad, *gradients(gru)])

    assert_same(*found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("cut", CUTS)
def test_other_types_are_as_in_nn_gru(cut: str, dtype: torch.dtype) -> None:
    plain, ours = make_twins(CUTS[cut], dtype=dtype)
    x = make_x(dtype=dtype)
    found = []
    for gru in (ours, plain):
        out = gru(x)
        weighted_sum([t.double() for t in out]).backward()
        found.append([*out, *gradients(gru)])

    assert_same(*found, tolerance=8 * torch.finfo(dtype).eps)


def test_a_state_may_be_expanded_and_an_input_transposed() -> None:
    plain, ours = make_twins(CUTS["two devices, zero bubble"])
    x, h_0 = make_x(3, 5, 3).transpose(0, 1), make_x(2, 1, 4).expand(2, 3, 4)

    assert_same(ours(x, h_0), plain(x, h_0))


def test_an_input_may_be_given_by_name() -> None:
    plain, ours = make_twins()
    x, h_0 = make_x(), make_x(2, 3, 4)

    assert_same(ours(input=x, hx=h_0), plain(input=x, hx=h_0))


def test_training_changes_nothing_where_there_is_no_dropout() -> None:
    plain, ours = make_twins(CUTS["two devices"])
    x = make_x()

    assert_same(ours.train()(x), plain.train()(x))
    assert_same(ours.eval()(x), plain.eval()(x))


def test_weights_on_no_device_give_shapes() -> None:
    _, ours = make_twins(CUTS["two devices"])
    y, h_n = ours.to("meta")(torch.empty(5, 3, 3, dtype=torch.float64, device="meta"))

    assert (y.device.type, y.shape) == ("meta", (5, 3, 4))
    assert (h_n.device.type, h_n.shape) == ("meta", (2, 3, 4))


def test_the_same_seed_draws_the_weights_of_nn_gru() -> None:
    torch.manual_seed(3)
    plain = nn.GRU(3, 4, 3, bidirectional=True)
    torch.manual_seed(3)
    ours = GRU(3, 4, 3, bidirectional=True, device_map=["cpu:0", "cpu:1", "cpu:2"])

    expected: list[Tensor] = list(plain.parameters())
    assert all(map(torch.equal, ours.parameters(), expected))
