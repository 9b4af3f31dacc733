"""Calls that are recorded and replayed come to the bits of calls that are not."""

import gc
import weakref
from threading import get_ident
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import LOSSES, GRUStack, StackModel, StepHead, Windows
from gru_parallel.stage.cpu_recorder import CPURecording
from tests.builders import HIDDEN, MSE, N_CHANNELS, SMALL_MSE, build_model, make_plan
from tests.engine.recording import (
    N_STEPS,
    PLAN,
    SMALL_PLAN,
    assert_same,
    n_recorded,
    reason,
    short_batch,
    small_model,
    train,
)
from tests.grids import covering

pytestmark = pytest.mark.usefixtures("little_to_collect", "recorded_from_the_second_call")


def both(
    options: dict[str, Any], plan: dict[str, Any], **extras: Any
) -> tuple[list[Tensor], list[Tensor]]:
    """Train without graphs, and with."""
    results = []
    for wanted in (False, True):
        model = build_model(**options)
        with ThreadEngine(model, make_plan(**plan), MSE, seed=3, graphs=wanted) as engine:
            results.append(train(engine, **extras))
            assert not wanted or reason(engine) is None
    return results[0], results[1]


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.5, "layers_per_block": 2, "h_0": "learned"},
        {"h_0": "carry", "dropout": 0.3},
        {"h_0": ["zeros", "previous", "carry", "previous"], "every_step": True},
        {"bidirectional": True, "dropout": 0.4, "dtype": torch.float32},
        {"bidirectional": [True, False, True, False], "residual": True, "norm": "layer"},
    ],
    ids=str,
)
def test_models_of_every_kind(options: dict[str, Any]) -> None:
    n_blocks = 4 // options.get("layers_per_block", 1)
    plan = PLAN | {"blocks_of_stages": (n_blocks // 2, n_blocks // 2)}
    plan |= {"layers_per_block": options.get("layers_per_block", 1)}
    assert_same(*both(options, plan))


@pytest.mark.parametrize(
    "plan",
    [
        {"schedule": "gpipe", "n_micro_batches": 1, "n_chunks": 1, "blocks_of_stages": [4]},
        {"schedule": "gpipe", "n_micro_batches": 3, "n_chunks": 2, "blocks_of_stages": [1, 2, 1]},
        {"schedule": "naive", "n_micro_batches": 2, "n_chunks": 2},
        {"schedule": "zero_bubble", "n_micro_batches": 2, "n_chunks": 2},
        {"schedule": "one_f_one_b", "n_micro_batches": 1, "n_chunks": 4, "truncate": 2},
    ],
    ids=str,
)
def test_every_schedule_and_cut(plan: dict[str, Any]) -> None:
    assert_same(*both({"dropout": 0.2}, plan))


@covering(
    1,
    core=["fused", "lean"],
    schedule=["one_f_one_b", "zero_bubble"],
    options=[{}, {"bidirectional": [False, True, False, True]}],
)
def test_every_core_that_leaves_w(core: str, schedule: str, options: dict[str, Any]) -> None:
    assert_same(*both(options | {"core": core}, PLAN | {"schedule": schedule}))


def test_batches_that_are_scaled_and_counted_otherwise_are_replayed_all_the_same() -> None:
    x, y = short_batch(every_step=True)
    classes = (10 * y[..., 0].abs()).long() % 5
    results = []
    for wanted in (False, True):
        model = StackModel(
            nn.Identity(), GRUStack(N_CHANNELS, 4, 2).double(), StepHead(4, 5).double()
        )
        plan = make_plan(**SMALL_PLAN)
        torch.manual_seed(1)
        for weight in model.parameters():
            nn.init.uniform_(weight, -0.5, 0.5)
        with ThreadEngine(model, plan, LOSSES["cross_entropy"], graphs=wanted) as engine:
            found = []
            for step in range(4):
                # Of each batch other classes count, and another number of them.
                target = classes.masked_fill(torch.arange(4) < step, -100)
                engine.loss_scale = 2.0**step
                model.zero_grad()
                loss = engine.train_step(Windows(x, target), step)
                loss.backward()
                found += [loss.detach(), *(p.grad.clone() for p in model.parameters())]
                assert not wanted or step == 0 or reason(engine) is None
            results.append(found)

    assert_same(*results)


def test_the_core_of_torch() -> None:
    assert_same(*both({"core": "native", "dropout": 0.2}, PLAN))


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, marks=pytest.mark.long), {"h_0": "learned", "dropout": 0.3}],
    ids=str,
)
def test_under_autocast_weights_are_read_anew(options: dict[str, Any]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(*both(options | {"dtype": torch.float32}, PLAN))


def test_a_scale_of_the_loss_that_changes_is_used() -> None:
    found = []
    for wanted in (False, True):
        model = small_model(dtype=torch.float32)
        results = []
        with ThreadEngine(model, make_plan(**SMALL_PLAN), SMALL_MSE, graphs=wanted) as engine:
            for exponent in (18, 18, 19, 19, 19):
                engine.loss_scale = 2.0**exponent
                with torch.autocast("cpu", torch.float16):
                    loss = engine.train_step(Windows(*short_batch(dtype=torch.float32)))
                model.zero_grad()
                loss.backward()
                results += [p.grad.clone() for p in model.parameters() if p.grad is not None]
            assert not wanted or reason(engine) is None
        found.append(results)
    assert_same(*found)


def test_gradients_of_what_comes_in() -> None:
    found: list[list[Tensor]] = [[], []]
    for results, wanted in zip(found, (False, True), strict=True):
        with ThreadEngine(build_model(), make_plan(**PLAN), MSE, graphs=wanted) as engine:
            for step in range(N_STEPS):
                x, y = (t.requires_grad_() for t in short_batch(seed=step))
                h_0 = torch.full((4, 5, HIDDEN), 0.1 * step, dtype=x.dtype, requires_grad=True)
                engine.train_step(Windows(x, y, h_0=h_0), step).backward()
                results += [x.grad, y.grad, h_0.grad]
            assert not wanted or reason(engine) is None
    assert_same(*found)


def test_steps_may_be_accumulated_before_one_backward() -> None:
    found: list[list[Tensor]] = [[], []]
    for results, wanted in zip(found, (False, True), strict=True):
        model = small_model()
        with ThreadEngine(model, make_plan(**SMALL_PLAN), MSE, graphs=wanted) as engine:
            losses = [engine.train_step(Windows(*short_batch(seed=s))) for s in range(4)]
            torch.stack(losses).sum().backward()
            results += [torch.stack(losses).detach(), *(p.grad for p in model.parameters())]
    assert_same(*found)


def test_weights_loaded_in_place_are_those_that_are_replayed() -> None:
    other = small_model(seed=9).state_dict()
    found: list[list[Tensor]] = [[], []]
    for results, wanted in zip(found, (False, True), strict=True):
        model = small_model()
        with ThreadEngine(model, make_plan(**SMALL_PLAN), MSE, graphs=wanted) as engine:
            train(engine, 3)
            model.load_state_dict(other)
            results += train(engine, 2)
    assert_same(*found)


def replace_weight(model: StackModel) -> None:
    model.head.linear.weight = nn.Parameter(torch.ones_like(model.head.linear.weight))


def move_weight(model: StackModel) -> None:
    part = model.gru.gru_blocks[1].gru_parts[0]
    part.weight_hh_l0.data = torch.full_like(part.weight_hh_l0, 0.1)


def freeze(model: StackModel) -> None:
    model.gru.gru_blocks[0].requires_grad_(False)


@pytest.mark.parametrize("change", [replace_weight, move_weight, freeze])
def test_weights_that_are_replaced_or_moved_are_noticed(change: Any) -> None:
    found: list[list[Tensor]] = [[], []]
    for results, wanted in zip(found, (False, True), strict=True):
        model = small_model()
        with ThreadEngine(model, make_plan(**SMALL_PLAN), MSE, graphs=wanted) as engine:
            for step in range(2):
                engine.train_step(Windows(*short_batch()), step)
            change(model)
            for step in range(3):
                loss = engine.train_step(Windows(*short_batch()), step)
                results.append(loss.detach())
            loss.backward()
            results += [p.grad for p in model.parameters() if p.grad is not None]
            assert not wanted or (reason(engine) is None and n_recorded(engine) == 1)
    assert_same(*found)


def test_lengths_run_as_they_do_without() -> None:
    lengths = torch.tensor([4, 3, 3, 2, 1])
    extras = {"lengths": lengths}
    found = []
    for wanted in (False, True):
        with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=wanted) as engine:
            found.append(train(engine, **extras))
            assert not wanted or "lengths" in str(reason(engine))
    assert_same(*found)


def test_what_watches_operations_sees_all_of_them() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=True) as engine:
        for watched in (False, False, True):
            counter = FlopCounterMode(display=False)
            if watched:
                with counter:
                    engine.train_step(Windows(*short_batch()))
            else:
                engine.train_step(Windows(*short_batch()))
            counts.append(counter.get_total_flops())
        assert "watches" in str(reason(engine))
    assert counts[:2] == [0, 0]
    assert counts[2] > 0


def test_each_action_is_one_replay_and_a_step_keeps_no_more_than_the_one_before() -> None:
    replayed: list[int] = []
    replay = CPURecording.replay

    def counted(self: CPURecording) -> None:
        replayed.append(get_ident())
        replay(self)

    with (
        patch.object(CPURecording, "replay", counted),
        ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=True) as engine,
    ):
        n_tensors = []
        for step in range(5):
            replayed.clear()
            engine.train_step(Windows(*short_batch()), step)
            if step in (2, 4):
                n_tensors.append(sum(isinstance(each, Tensor) for each in gc.get_objects()))
    # F and B of 2 x 2 cells on 2 stages.
    assert len(replayed) == 2 * 4 * 2
    # One worker queues them all.
    assert len(set(replayed)) == 1
    assert n_tensors[0] == n_tensors[1]


def test_a_batch_is_not_kept_after_its_step() -> None:
    with ThreadEngine(small_model(), make_plan(**SMALL_PLAN), MSE, graphs=True) as engine:
        for step in range(4):
            x, y = short_batch()
            engine.train_step(Windows(x, y), step)
        kept = weakref.ref(x), weakref.ref(y)
        del x, y
        gc.collect()
        assert [ref() for ref in kept] == [None, None]


def replace_buffer(model: StackModel) -> None:
    model.encoder.scale = torch.full_like(model.encoder.scale, 3.0)


def move_buffer(model: StackModel) -> None:
    model.encoder.scale.data = torch.full_like(model.encoder.scale, 3.0)


class Scaling(nn.Linear):
    """Multiplies by a buffer."""

    stepwise = True

    def forward(self, x: Tensor) -> Tensor:
        """Scale."""
        return super().forward(x) * self.scale


@pytest.mark.parametrize("change", [replace_buffer, move_buffer])
def test_buffers_that_are_replaced_or_moved_are_noticed(change: Any) -> None:
    found: list[list[Tensor]] = [[], []]
    for results, wanted in zip(found, (False, True), strict=True):
        model = small_model()
        encoder = Scaling(N_CHANNELS, model.encoder.out_features).double()
        encoder.load_state_dict(model.encoder.state_dict())
        encoder.register_buffer("scale", torch.ones(1, dtype=torch.float64))
        model.encoder = encoder
        with ThreadEngine(model, make_plan(**SMALL_PLAN), MSE, graphs=wanted) as engine:
            for step in range(6):
                if step == 3:
                    change(model)
                results.append(engine.train_step(Windows(*short_batch()), step).detach())
            assert not wanted or reason(engine) is None
    assert_same(*found)
