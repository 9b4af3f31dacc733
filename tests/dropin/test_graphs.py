"""The drop-in on recorded calls: F and B apart, several calls at once, weights that change."""

import time
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from gru_parallel.dropin import borrowed_stack
from gru_parallel.dropin.gru import GRU
from gru_parallel.engine import graphs
from gru_parallel.engine.passes import Recorded
from gru_parallel.engine.workers import Workers
from gru_parallel.schedule import Action
from tests.cudnn_stand_in import refuse_what_cudnn_refuses
from tests.dropin.twins import CUTS, make_twins, make_x
from tests.grids import covering

pytestmark = pytest.mark.usefixtures("little_to_collect")


@pytest.fixture(autouse=True)
def from_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "N_EAGER", 0)


def pair(cut: str = "two devices", **options: Any) -> tuple[GRU, GRU]:
    """Make the same drop-in twice, without graphs and with."""
    _, without = make_twins({**CUTS[cut], "graphs": False}, **options)
    _, with_them = make_twins({**CUTS[cut], "graphs": True}, **options)
    return without, with_them


def is_replayed(gru: GRU) -> bool:
    assert gru._stack is not None
    assert gru._stack._graphs is not None
    return gru._stack._graphs.why_not is None


def recorded_of(gru: GRU) -> list[Recorded]:
    assert gru._stack is not None
    assert gru._stack._graphs is not None
    return gru._stack._graphs._recorded


def assert_equal(left: list[Tensor | None], right: list[Tensor | None]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or torch.equal(one, other)


def gradients(gru: GRU, x: Tensor, h_0: Tensor) -> list[Tensor | None]:
    found = [x.grad, h_0.grad, *(weight.grad for weight in gru.parameters())]
    gru.zero_grad()
    return found


@covering(1, cut=CUTS, reads=["y", "h_n", "both"])
def test_forward_and_backward_come_to_the_same(cut: str, reads: str) -> None:
    without, with_them = pair(cut, dropout=0.5)
    for step in range(2):
        found = []
        for gru in (without, with_them):
            torch.manual_seed(step)
            x = make_x(seed=step).requires_grad_()
            h_0 = torch.full((2, 3, 4), 0.1 * step, dtype=x.dtype, requires_grad=True)
            y, h_n = gru(x, h_0)
            loss = y.new_zeros(())
            loss = loss if reads == "h_n" else loss + y.square().sum()
            loss = loss if reads == "y" else loss + h_n.sum()
            loss.backward()
            found.append([y.detach(), h_n.detach(), *gradients(gru, x, h_0)])
        assert_equal(*found)
        assert is_replayed(with_them)


def test_bidirectional_layers() -> None:
    without, with_them = pair("in the caller's thread", bidirectional=True)
    for step in range(2):
        found = []
        for gru in (without, with_them):
            x = make_x(seed=step).requires_grad_()
            y, h_n = gru(x)
            (y.square().sum() + h_n.sum()).backward()
            found.append([y.detach(), x.grad])
        assert_equal(*found)


def test_calls_that_overlap_keep_what_they_need() -> None:
    found = []
    for gru in pair():
        inputs = [make_x(seed=seed).requires_grad_() for seed in range(6)]
        outputs = [gru(x)[0] for x in inputs]
        for y in outputs[::-1]:
            y.square().sum().backward()
        found.append([*(y.detach() for y in outputs), *(x.grad for x in inputs)])
    assert_equal(*found)


def test_a_backward_may_be_repeated() -> None:
    found = []
    for gru in pair():
        x = make_x().requires_grad_()
        for _ in range(2):
            loss = gru(x)[0].square().sum()
            loss.backward(retain_graph=True)
            other = gru(make_x(seed=5))[0]
            loss.backward()
        found.append([x.grad, other.detach()])
    assert_equal(*found)


def test_outputs_stay_when_the_next_call_comes() -> None:
    _, gru = pair()
    with torch.no_grad():
        first, _ = gru(make_x(seed=1))
        kept = first.clone()
        gru(make_x(seed=2))
    assert is_replayed(gru)
    assert torch.equal(first, kept)


def test_a_call_without_gradients_leaves_what_training_has_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graphs, "N_EAGER", 1)
    _, gru = pair()
    for _ in range(2):
        gru(make_x())[0].sum().backward()
    (recorded,) = recorded_of(gru)
    with torch.no_grad():
        gru(make_x()[1:])
    assert not is_replayed(gru)
    assert recorded_of(gru)[0] is recorded


class SlowToEnd(dict[int, Action]):
    """What stages do, taken back by workers after they have said that they are done."""

    def pop(self, *args: Any) -> Any:
        """Keep the worker from its end, as a busy machine does."""
        time.sleep(0.1)
        return super().pop(*args)


def test_a_worker_that_is_slow_to_end_keeps_nothing_that_is_replayed() -> None:
    _, gru = pair()
    for step in range(4):
        gru(make_x())[0].sum().backward()
        assert gru._stack is not None
        if step == 1:
            assert isinstance(gru._stack._runner, Workers)
            gru._stack._runner._running = SlowToEnd()
    assert is_replayed(gru)
    assert len(recorded_of(gru)) == 1


def test_a_weight_that_changes_between_forward_and_backward_is_refused() -> None:
    _, gru = pair()
    y, _ = gru(make_x())
    with torch.no_grad():
        gru.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_weights_of_the_moment_are_used() -> None:
    found = []
    for gru in pair():
        optimizer = torch.optim.SGD(gru.parameters(), 0.1)
        results: list[Tensor | None] = []
        for step in range(3):
            optimizer.zero_grad()
            y, _ = gru(make_x(seed=step))
            y.square().sum().backward()
            optimizer.step()
            results.append(y.detach())
        # As load_state_dict(assign=True) does: others, elsewhere.
        gru.weight_ih_l1 = torch.nn.Parameter(torch.ones_like(gru.weight_ih_l1))
        results.append(gru(make_x())[0].detach())
        found.append(results)
    assert_equal(*found)


def test_calls_under_autocast_replay_with_copies_that_follow_the_weights() -> None:
    found = []
    for gru in pair(dtype=torch.float32):
        optimizer = torch.optim.SGD(gru.parameters(), 0.5)
        results: list[Tensor | None] = []
        for step in range(4):
            x = make_x(seed=step, dtype=torch.float32).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16):
                # The second call begins before B of the first, and reads the same weights.
                y, other = gru(x)[0], gru(x * 2)[0]
            assert y.dtype == torch.bfloat16
            (y.float().square().sum() + other.float().sum()).backward()
            results += [y.detach(), other.detach(), x.grad, *(w.grad for w in gru.parameters())]
            optimizer.step()
            optimizer.zero_grad()
        found.append(results)
    assert_equal(*found)
    assert is_replayed(gru)


def test_under_autocast_calls_that_overlap_keep_the_weights_that_they_had() -> None:
    found = []
    for gru in pair(dtype=torch.float32):
        inputs = [make_x(seed=seed, dtype=torch.float32).requires_grad_() for seed in range(4)]
        outputs = []
        for x in inputs:
            with torch.autocast("cpu", torch.bfloat16):
                outputs.append(gru(x)[0].float())
            with torch.no_grad():
                for weight in gru.parameters():
                    weight.mul_(0.9)
        for y in outputs[::-1]:
            y.square().sum().backward()
        found.append([*(y.detach() for y in outputs), *(x.grad for x in inputs)])
    assert_equal(*found)


def test_last_states_of_stages_on_several_devices_are_put_together_on_the_last() -> None:
    first, last = Mock(), Mock()
    first.h_n.return_value = torch.ones(1, 2, 3)
    last.h_n.return_value = torch.ones(2, 2, 3, device="meta")
    last.take_outputs.return_value = torch.ones(4, 2, 3, device="meta")

    y, h_n = borrowed_stack._results([first, last])

    assert y is last.take_outputs.return_value
    assert (h_n.device.type, h_n.shape) == ("meta", (3, 2, 3))


def test_a_call_in_eval_mode_records_no_backward_that_cudnn_would_refuse() -> None:
    with refuse_what_cudnn_refuses():
        _, gru = pair("in one piece", dtype=torch.float32)
        x = make_x(dtype=torch.float32)
        gru.eval()
        for _ in range(3):
            # Nobody asks for a backward, as in a validation without no_grad.
            gru(x)
        assert not is_replayed(gru)
        with pytest.raises(RuntimeError, match="only be called in training mode"):
            gru(x)[0].sum().backward()
        with torch.no_grad():
            gru(x)
        assert is_replayed(gru)

        gru.train()
        gru(x)[0].sum().backward()

        assert is_replayed(gru)
