"""Dropout: the same random numbers wherever they are drawn, fresh ones each call."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel import GRU
from gru_parallel.schedule import SCHEDULES
from tests.dropin.twins import TWO_CPUS, assert_same, gradients, make_twins, make_x, weighted_sum
from tests.grids import covering

MAPS: dict[str, dict[str, Any]] = {
    "the caller's thread": {},
    "one device": {"device_map": {"0-3": "cpu:0"}},
    "two devices": {"device_map": {"0-1": "cpu:0", "2-3": "cpu:1"}},
    "two devices otherwise": {"device_map": {"0": "cpu:0", "1-3": "cpu:1"}},
    "four devices": {"device_map": ["cpu:0", "cpu:1", "cpu:2", "cpu:3"]},
    "blocks of two": {"blocks": 2, "device_map": ["cpu:0", "cpu:1"]},
    "one block": {"blocks": 4},
    "auto": {"device_map": "auto"},
}


def draw(extras: dict[str, Any], seed: int = 4, **options: Any) -> list[Tensor | None]:
    """Run once with dropout; return outputs and all gradients."""
    _, ours = make_twins(extras, num_layers=4, dropout=0.4, **options)
    x = make_x().requires_grad_()
    torch.manual_seed(seed)
    out = ours(x)
    weighted_sum(out).backward()
    return [*out, x.grad, *gradients(ours)]


def are_equal(found: list[Tensor | None], expected: list[Tensor | None]) -> bool:
    """Whether all is the same to the bit."""
    pairs = zip(found, expected, strict=True)
    return all(a is not None and b is not None and torch.equal(a, b) for a, b in pairs)


@covering(1, schedule=SCHEDULES, cut=[(1, 1), (1, 3), (3, 2)], bidirectional=[False, True])
def test_dropout_is_the_same_to_the_bit_on_every_map_and_schedule(
    schedule: str, cut: tuple[int, int], bidirectional: bool
) -> None:
    sizes = {"n_micro_batches": cut[0], "n_chunks": cut[1]}
    expected = draw(sizes, bidirectional=bidirectional)

    for name, extras in MAPS.items():
        found = draw({**extras, **sizes, "schedule": schedule}, bidirectional=bidirectional)
        assert are_equal(found, expected), name


def test_each_call_drops_anew_and_a_seed_repeats_it() -> None:
    _, ours = make_twins(TWO_CPUS, dropout=0.5)
    x = make_x()
    torch.manual_seed(4)
    first, second = ours(x)[0], ours(x)[0]
    torch.manual_seed(4)
    again = ours(x)[0]

    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_a_second_backward_drops_what_the_first_did() -> None:
    _, ours = make_twins(TWO_CPUS, dropout=0.5)
    loss = weighted_sum(ours(make_x()))
    (first,) = torch.autograd.grad(loss, [ours.weight_ih_l0], retain_graph=True)
    (second,) = torch.autograd.grad(loss, [ours.weight_ih_l0])

    assert torch.equal(first, second)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("extras", [{}, TWO_CPUS], ids=["one piece", "two devices"])
def test_a_checkpoint_drops_the_same_again(extras: dict[str, Any], use_reentrant: bool) -> None:
    found = []
    for is_checkpointed in (False, True):
        _, ours = make_twins(extras, dropout=0.5)
        x = make_x().requires_grad_()
        torch.manual_seed(4)
        if is_checkpointed:
            out = torch.utils.checkpoint.checkpoint(ours, x, use_reentrant=use_reentrant)
        else:
            out = ours(x)
        weighted_sum(out).backward()
        found.append([*out, x.grad, *gradients(ours)])

    assert are_equal(*found)


def test_nothing_is_dropped_in_evaluation_and_no_random_number_drawn() -> None:
    plain, ours = make_twins(TWO_CPUS, dropout=0.5)
    before = torch.get_rng_state()

    assert_same(ours.eval()(make_x()), plain.eval()(make_x()))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("extras", [{}, TWO_CPUS], ids=["one piece", "two devices"])
def test_all_is_dropped_as_in_nn_gru(extras: dict[str, Any]) -> None:
    found = []
    for gru in make_twins(extras, dropout=1.0):
        x = make_x().requires_grad_()
        out = gru(x)
        weighted_sum(out).backward()
        found.append([*out, x.grad, *gradients(gru)])

    assert_same(*found)


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_outputs_are_spread_as_those_of_nn_gru(dropout: float) -> None:
    """All rows are alike, so whatever differs between them is dropout's."""
    n_rows = 4000
    plain, ours = make_twins(TWO_CPUS, dropout=dropout)
    x = make_x(3, 1, 3).expand(3, n_rows, 3)
    torch.manual_seed(4)

    with torch.no_grad():
        expected, actual = plain(x)[0][-1], ours(x)[0][-1]

    spread = expected.std(0)
    assert ((actual.mean(0) - expected.mean(0)).abs() < 6 * spread / n_rows**0.5).all()
    assert ((actual.std(0) / spread - 1).abs() < 0.1).all()


def test_dropout_changes_between_calls() -> None:
    plain, ours = make_twins(TWO_CPUS, dropout=0.5)
    ours(make_x())

    ours.dropout = 0.0
    assert_same(ours(make_x()), plain.eval()(make_x()))

    ours.dropout = 0.5
    torch.manual_seed(4)
    found = ours(make_x())
    torch.manual_seed(4)
    assert_same(found, GRU.from_torch(ours, n_chunks=3)(make_x()))


def test_one_layer_has_no_dropout() -> None:
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        plain, ours = make_twins(num_layers=1, dropout=0.5)

    assert_same(ours(make_x()), plain(make_x()))
