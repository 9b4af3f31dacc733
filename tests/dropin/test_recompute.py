"""The drop-in with recompute="cell": B, whenever it comes, runs F again as it was."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from gru_parallel import GRU
from gru_parallel.engine import graphs
from gru_parallel.errors import UsageError
from tests.dropin.twins import CUTS, TWO_CPUS, make_twins, make_x, weighted_sum

pytestmark = pytest.mark.usefixtures("little_to_collect")

EVERY_CUT = pytest.mark.parametrize("cut", CUTS)


def both(
    use: Callable[[GRU], list[Tensor]], cut: dict[str, Any] | None = None, **options: Any
) -> None:
    """Compare the bits of what comes of a use, with and without recomputation."""
    results = []
    for recompute in ("none", "cell"):
        _, ours = make_twins({**(cut or {}), "recompute": recompute}, **options)
        torch.manual_seed(3)
        results.append(use(ours))
    assert len(results[0]) == len(results[1])
    assert all(map(torch.equal, *results))


def gradients(gru: GRU, x: Tensor, h_0: Tensor | None = None, n_times: int = 1) -> list[Tensor]:
    """Run F and B, the second so many times."""
    inputs = [x.requires_grad_(), *([] if h_0 is None else [h_0.requires_grad_()])]
    out = gru(x, h_0)
    wanted = [*inputs, *gru.parameters()]
    found = [
        torch.autograd.grad(weighted_sum(out), wanted, retain_graph=True) for _ in range(n_times)
    ]
    return [*out, *(g for each in found for g in each)]


@EVERY_CUT
@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.3}, {"bidirectional": True, "dropout": 0.3}, {"bias": False}],
    ids=str,
)
def test_it_has_the_bits_of_one_that_keeps_all(cut: str, options: dict[str, Any]) -> None:
    h_0 = make_x(4 if options.get("bidirectional") else 2, 3, 4, seed=5)

    both(lambda gru: gradients(gru, make_x(), h_0.clone(), 2), CUTS[cut], **options)


def test_packed_sequences() -> None:
    def use(gru: GRU) -> list[Tensor]:
        output, h_n = gru(pack_sequence([make_x(5, 3), make_x(2, 3), make_x(1, 3)]))
        loss = weighted_sum([output.data, h_n])
        return [output.data, h_n, *torch.autograd.grad(loss, [*gru.parameters()])]

    both(use, TWO_CPUS, dropout=0.3)


@EVERY_CUT
def test_backward_outside_of_autocast_uses_the_types_of_forward(cut: str) -> None:
    def use(gru: GRU) -> list[Tensor]:
        x = make_x(dtype=torch.float32).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y, h_n = gru(x)
        # Another type meanwhile, for which the blocks get other weights.
        gru(make_x(dtype=torch.float32, seed=4))
        loss = weighted_sum([y.float(), h_n.float()])
        return [y, h_n, *torch.autograd.grad(loss, [x, *gru.parameters()])]

    both(use, CUTS[cut], dtype=torch.float32)


def test_backward_inside_of_autocast_uses_the_types_of_a_forward_outside() -> None:
    def use(gru: GRU) -> list[Tensor]:
        out = gru(make_x(dtype=torch.float32))
        loss = weighted_sum(out)
        with torch.autocast("cpu", torch.bfloat16):
            return [*out, *torch.autograd.grad(loss, [*gru.parameters()])]

    both(use, TWO_CPUS, dtype=torch.float32)


@EVERY_CUT
def test_an_evaluation_between_forward_and_backward_changes_nothing(cut: str) -> None:
    def use(gru: GRU) -> list[Tensor]:
        loss = weighted_sum(gru(make_x()))
        gru.eval()
        gru(make_x(seed=4))
        return [*torch.autograd.grad(loss, [*gru.parameters()])]

    both(use, CUTS[cut], dropout=0.5)


def test_calls_may_overlap() -> None:
    def use(gru: GRU) -> list[Tensor]:
        losses = [weighted_sum(gru(make_x(seed=seed))) for seed in (1, 2)]
        return [g for loss in losses for g in torch.autograd.grad(loss, [*gru.parameters()])]

    both(use, TWO_CPUS, dropout=0.3)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cut", ["in the caller's thread", "two devices"])
def test_calls_that_are_replayed(
    cut: str, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "N_EAGER", 1)
    results = []
    for options in ({"recompute": "none"}, {"recompute": "cell", "graphs": True}):
        _, gru = make_twins({**CUTS[cut], **options}, dropout=0.3, bidirectional=bidirectional)
        torch.manual_seed(3)
        calls = [gradients(gru, make_x(seed=seed), n_times=2) for seed in range(3)]
        results.append([tensor for call in calls for tensor in call])
    assert all(map(torch.equal, *results))
    assert gru._stack is not None
    assert gru._stack._graphs is not None
    assert gru._stack._graphs.why_not is None


@pytest.mark.parametrize("changed", ["x", "h_0", "weight"])
def test_what_has_changed_in_place_since_forward_is_refused(changed: str) -> None:
    _, gru = make_twins({**TWO_CPUS, "recompute": "cell"})
    tensors = {"x": make_x(), "h_0": make_x(2, 3, 4), "weight": gru.weight_hh_l1}
    loss = weighted_sum(gru(tensors["x"], tensors["h_0"]))
    with torch.no_grad():
        tensors[changed].add_(1.0)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_it_is_kept_by_copies_and_may_be_set_later() -> None:
    gru = GRU.from_torch(nn.GRU(3, 4, 2), recompute="cell")
    assert gru.recompute == "cell"

    gru.recompute = "none"

    gru(make_x(dtype=torch.float32))
    assert gru._stack is not None
    assert not gru._stack._plan.grid.recomputes


def test_another_value_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^recompute=all is not a valid choice; use"):
        GRU(3, 4, recompute="all")
