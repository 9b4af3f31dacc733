"""A step as a piece of a larger graph: what it back-propagates to, and how often."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, Windows
from tests.builders import (
    HIDDEN,
    MSE,
    N_CHANNELS,
    WIDTH,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
)
from tests.engine.plain import CUT, CUTS, RAGGED, assert_equal_gradients, plain_loss

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.mark.parametrize("encoder", [None, nn.Identity()], ids=["linear", "no encoder"])
@pytest.mark.parametrize("cut", CUTS)
def test_what_comes_before_the_windows_is_trained(cut: str, encoder: nn.Module | None) -> None:
    def build() -> tuple[nn.Module, StackModel]:
        model = build_model()
        model.encoder = encoder or model.encoder
        width = N_CHANNELS if encoder is None else WIDTH
        return nn.Linear(N_CHANNELS, width).double(), model

    x, y = make_batch()
    torch.manual_seed(0)
    before, plain = build()
    plain_loss(plain, before(x).tanh(), y).backward()
    torch.manual_seed(0)
    same, model = build()
    with ThreadEngine(model, make_plan(*CUTS[cut]), MSE) as engine:
        engine.train_step(Windows(same(x).tanh(), y)).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)
    assert_gradients_close(gradients_of(same), gradients_of(before), 1e-11)


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["whole", "ragged"])
@pytest.mark.parametrize("cut", CUTS)
def test_windows_targets_and_states_get_their_gradients(
    cut: str, lengths: Tensor | None, every_step: bool
) -> None:
    def run(engine: Any) -> list[Tensor | None]:
        inputs = [*make_batch(every_step=every_step), torch.randn(4, 5, HIDDEN).double()]
        x, y, h_0 = (tensor.requires_grad_() for tensor in inputs)
        engine.train_step(Windows(x, y, h_0=h_0, lengths=lengths)).backward()
        return [x.grad, y.grad, h_0.grad]

    torch.manual_seed(0)
    expected = run(WholeEngine(build_model(every_step=every_step), MSE))
    torch.manual_seed(0)
    with ThreadEngine(build_model(every_step=every_step), make_plan(*CUTS[cut]), MSE) as engine:
        assert_equal_gradients(run(engine), expected)


def test_gradients_of_windows_alone_come_through_frozen_weights() -> None:
    x, y = make_batch()
    model = build_model().requires_grad_(False)
    expected = x.clone().requires_grad_()
    plain_loss(model, expected, y).backward()

    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(Windows(x.requires_grad_(), y)).backward()

    assert_equal_gradients([x.grad], [expected.grad])


def test_two_steps_in_one_graph_add_up() -> None:
    batches = [make_batch(seed=seed) for seed in (1, 2)]
    plain, model = build_model(), build_model()
    sum(plain_loss(plain, *batch) * 3 for batch in batches).backward()
    with ThreadEngine(model, CUT, MSE) as engine:
        sum(engine.train_step(Windows(*batch)) * 3 for batch in batches).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_a_second_backward_raises_as_autograd_does_and_adds_nothing() -> None:
    model = build_model()
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(Windows(*make_batch()))
        loss.backward()
        once = gradients_of(model)
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()

    assert_gradients_close(gradients_of(model), once, 0.0)


def test_a_retained_graph_gives_its_gradients_again() -> None:
    model = build_model()
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(Windows(*make_batch()))
        loss.backward(retain_graph=True)
        once = gradients_of(model)
        loss.backward()
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()

    twice = {name: None if g is None else 2 * g for name, g in once.items()}
    assert_gradients_close(gradients_of(model), twice, 0.0)


def test_gradients_can_be_asked_for_one_by_one() -> None:
    model, plain = build_model(), build_model()
    name = "gru.blocks.2.parts.0.weight_hh_l0"
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(Windows(*make_batch()))
        (found,) = torch.autograd.grad(loss, [model.get_parameter(name)])

    expected = torch.autograd.grad(plain_loss(plain, *make_batch()), [plain.get_parameter(name)])
    assert_equal_gradients([found], expected)
    assert set(gradients_of(model).values()) == {None}


@pytest.mark.parametrize("which", ["gru.blocks.0.parts.0.weight_hh_l0", "encoder.weight", "x"])
def test_what_is_changed_in_place_before_backward_is_noticed(which: str) -> None:
    model = build_model()
    x, y = make_batch()
    with ThreadEngine(model, CUT, MSE) as engine:
        loss = engine.train_step(Windows(x, y))
        with torch.no_grad():
            (x if which == "x" else model.get_parameter(which)).add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_loss_that_is_not_used_leaves_nothing_behind() -> None:
    model = build_model()
    calls: list[Tensor] = []
    for weight in model.parameters():
        weight.register_hook(calls.append)
    with ThreadEngine(model, CUT, MSE) as engine:
        gc.disable()
        try:
            loss = engine.train_step(Windows(*make_batch()))
            assert loss.grad_fn is not None
            kept = [weakref.ref(saved) for saved in loss.grad_fn.saved_tensors]
            node = weakref.ref(loss.grad_fn)
            del loss
            assert node() is None
            weights = {id(weight) for weight in model.parameters()}
            assert [ref for ref in kept if ref() is not None and id(ref()) not in weights] == []
        finally:
            gc.enable()

        assert set(gradients_of(model).values()) == {None}
        assert calls == []
