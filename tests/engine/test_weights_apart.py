"""W: what B leaves of the weights' gradients is worked out later, to the same bits."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel import GRU
from gru_parallel.engine import graphs
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ScheduleError, UsageError
from gru_parallel.model import GRUBlock, Windows
from gru_parallel.placement import Plan
from gru_parallel.stage.stage_pass import StagePass
from tests.builders import MSE, build_model, gradients_of, make_batch, make_plan
from tests.engine.left_weights import leave_all_weights
from tests.grids import covering

pytestmark = pytest.mark.usefixtures("little_to_collect")

STACKS: dict[str, dict[str, Any]] = {
    "forward": {"dropout": 0.3},
    "learned": {"h_0": "learned"},
    "bidirectional": {"bidirectional": True},
    "bidirectional in the middle": {"bidirectional": [False, True, False, False]},
    "previous": {"h_0": ["learned", "previous", "zeros", "previous"]},
}
CUTS = ([4], [1, 2, 1])


def train(
    plan: Plan, *, n_steps: int = 2, length: int = 7, wanted: bool = False, **options: Any
) -> list[Tensor]:
    """Train a little on windows of a length; return losses and gradients."""
    lengths = options.pop("lengths", None)
    model = build_model(dtype=torch.float32, **options)
    found: list[Tensor] = []
    with ThreadEngine(model, plan, MSE, seed=7, graphs=wanted) as engine:
        for step in range(n_steps):
            model.zero_grad()
            x, y = make_batch(n_steps=length, dtype=torch.float32, seed=step)
            loss = engine.train_step(Windows(x, y, lengths=lengths), step)
            loss.backward()
            found += [loss.detach(), *(g for g in gradients_of(model).values() if g is not None)]
        assert not wanted or engine.why_not_replayed is None
    return found


def assert_same(left: list[Tensor], right: list[Tensor]) -> None:
    assert len(left) == len(right)
    assert all(map(torch.equal, left, right))


@pytest.fixture
def n_pieces(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Everything is left to W; counts it."""
    return leave_all_weights(monkeypatch)


@covering(1, stack=STACKS, is_ragged=[False, True])
def test_what_is_left_comes_to_the_bits_of_b_on_every_device_map(
    stack: str, is_ragged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = STACKS[stack] | ({"lengths": torch.tensor([1, 7, 3, 7, 2])} if is_ragged else {})
    in_b = train(make_plan([4], "one_f_one_b", 2, 3), **options)
    n_pieces = leave_all_weights(monkeypatch)

    for blocks in CUTS:
        assert_same(train(make_plan(blocks, "zero_bubble", 2, 3), **options), in_b)

    assert n_pieces["left"] == n_pieces["done"] > 0


def test_truncated_windows_leave_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"every_step": False}
    in_b = train(make_plan([2, 2], "one_f_one_b", 2, 4, truncate=2), **options)
    n_pieces = leave_all_weights(monkeypatch)

    assert_same(train(make_plan([1, 3], "zero_bubble", 2, 4, truncate=2), **options), in_b)
    assert n_pieces["left"] == n_pieces["done"] > 0


def test_a_second_device_works_out_its_direction_itself(n_pieces: Counter[str]) -> None:
    devices = ["cpu:0+cpu:1", "cpu:2+cpu:3"]
    two = make_plan([2, 2], "zero_bubble", 2, 3, devices=devices)
    one = make_plan([2, 2], "zero_bubble", 2, 3)

    assert_same(train(two, bidirectional=True), train(one, bidirectional=True))


@pytest.mark.parametrize("stack", ["forward", "bidirectional in the middle", "previous"])
def test_w_is_recorded_and_replayed(
    stack: str, n_pieces: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "N_EAGER", 1)
    plan = make_plan([1, 3], "zero_bubble", 2, 2)
    # Each time step is many operations to record.
    few: dict[str, Any] = {"n_steps": 4, "length": 3}
    results = [train(plan, **few, wanted=wanted, **STACKS[stack]) for wanted in (False, True)]

    assert_same(*results)


@pytest.mark.parametrize("options", [{"graphs": False}, {"graphs": True}], ids=str)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_drop_in_runs_w_in_its_backward_as_often_as_that(
    bidirectional: bool, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "N_EAGER", 1)
    x = torch.randn(3, 4, 3)

    def gradients(gru: GRU) -> list[Tensor]:
        found: list[Tensor] = []
        for _ in range(3):
            y, h_n = gru(x)
            for keep in (True, False):
                gru.zero_grad()
                (y.square().sum() + h_n.sum()).backward(retain_graph=keep)
                found += [p.grad.clone() for p in gru.parameters() if p.grad is not None]
            # What is still needed is not written to: the next call would be recorded, too.
            del y, h_n
        if options["graphs"]:
            assert gru._stack is not None
            assert gru._stack._graphs is not None
            assert gru._stack._graphs.why_not is None
        return found

    torch.manual_seed(1)
    plain = nn.GRU(3, 4, 2, bidirectional=bidirectional)
    cut: dict[str, Any] = {"device_map": ["cpu:0", "cpu:1"], "n_micro_batches": 2, "n_chunks": 3}
    in_b = gradients(GRU.from_torch(plain, schedule="gpipe", **cut, **options))
    n_pieces = leave_all_weights(monkeypatch)

    assert_same(gradients(GRU.from_torch(plain, schedule="zero_bubble", **cut, **options)), in_b)
    assert n_pieces["left"] == n_pieces["done"] > 0


def test_a_core_that_leaves_nothing_is_refused() -> None:
    plan = make_plan([2, 2], "zero_bubble", 1, 2)
    with pytest.raises(UsageError, match=r"model\.core=native cannot; use model\.core=fused or"):
        ThreadEngine(build_model(core="native"), plan, MSE)


def test_a_class_of_the_callers_own_works_its_weights_out_in_b() -> None:
    class Own(GRUBlock):
        stepwise = True

        def forward(self, x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
            return super().forward(x, *others[:2])

    def found(schedule: str) -> list[Tensor]:
        model = build_model(core="native")
        for block in model.gru.blocks:
            block.__class__ = Own
        with ThreadEngine(model, make_plan([2, 2], schedule, 2, 3), MSE) as engine:
            engine.train_step(Windows(*make_batch())).backward()
        return [gradient for gradient in gradients_of(model).values() if gradient is not None]

    assert_same(found("zero_bubble"), found("one_f_one_b"))


def test_work_that_no_w_does_is_an_error(
    n_pieces: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StagePass, "weights", lambda *_: None)
    with (
        ThreadEngine(build_model(), make_plan([2, 2], "zero_bubble", 1, 2), MSE) as engine,
        pytest.raises(ScheduleError, match=r"lack the cells \(0, 1\), \(0, 0\): each B left work"),
    ):
        engine.train_step(Windows(*make_batch()))
