"""Hooks on modules, and tensors that nobody knows of: seen to, or refused."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import UsageError
from gru_parallel.model import GRUStack, StackModel, SumLoss, Windows
from tests.builders import (
    MSE,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
)
from tests.engine.plain import CUT, CUTS, plain_loss

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("", "register_forward_hook"),
        ("gru", "register_forward_pre_hook"),
        ("gru.blocks.1", "register_forward_hook"),
        ("gru.blocks.1.parts.0", "register_full_backward_hook"),
        ("gru.blocks.1.parts.0", "register_full_backward_pre_hook"),
        ("head.linear", "register_full_backward_hook"),
        ("head", "register_forward_hook"),
    ],
)
def test_hooks_on_modules_that_would_see_pieces_are_refused(where: str, kind: str) -> None:
    model = build_model()
    handle = getattr(model.get_submodule(where), kind)(lambda *_: None)
    with ThreadEngine(model, CUT, MSE) as engine:
        with pytest.raises(UsageError, match=f"hook .* of {where or 'the model'} "):
            engine.train_step(Windows(*make_batch()))
        handle.remove()
        engine.train_step(Windows(*make_batch()))


@pytest.mark.parametrize("plan", [(2, 1), (1, 1)])
def test_a_hook_on_a_bidirectional_block_is_refused_in_predictions_too(
    plan: tuple[int, int],
) -> None:
    model = build_model(bidirectional=True)
    windows = Windows(*make_batch())
    handle = model.gru.blocks[1].register_forward_hook(lambda _, __, out: (0 * out[0], out[1]))
    with ThreadEngine(model, make_plan([2, 2], "gpipe", *plan), MSE) as engine:
        for call in (engine.predict, engine.train_step):
            with pytest.raises(UsageError, match=r"after forward of gru\.blocks\.1 .* never"):
                call(windows)
        handle.remove()
        torch.testing.assert_close(engine.predict(windows), model(windows.x).detach())


def test_a_hook_on_a_block_of_an_uncut_plan_has_its_share_in_the_gradients() -> None:
    def build() -> StackModel:
        model = build_model()
        block = model.gru.gru_blocks[1]
        block.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        block.register_forward_hook(lambda own, _, out: (out[0] * own.scale, out[1]))
        return model

    plain, model = build(), build()
    plain_loss(plain, *make_batch()).backward()
    with ThreadEngine(model, make_plan([2, 2], "gpipe", 1, 1), MSE) as engine:
        engine.train_step(Windows(*make_batch())).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


@pytest.mark.parametrize("cut", CUTS)
def test_a_counter_of_flops_sees_what_plain_training_shows_it(cut: str) -> None:
    with FlopCounterMode(display=False) as expected:
        plain_loss(build_model(), *make_batch()).backward()
    with (
        ThreadEngine(build_model(), make_plan(*CUTS[cut]), MSE) as engine,
        FlopCounterMode(display=False) as found,
    ):
        engine.train_step(Windows(*make_batch())).backward()

    assert found.get_total_flops() == expected.get_total_flops() > 0


def test_a_hook_before_forward_that_wants_the_inputs_is_refused() -> None:
    model = build_model()
    with ThreadEngine(model, CUT, MSE) as engine:
        for hook in (lambda _, inputs: inputs[0].sum(), lambda *_: torch.zeros(1)):
            part = model.gru.gru_blocks[0].gru_parts[0]
            handle = part.register_forward_pre_hook(hook)
            with pytest.raises(UsageError, match="reads or changes its inputs"):
                engine.train_step(Windows(*make_batch()))
            handle.remove()


def test_a_tensor_that_the_loss_brings_along_is_refused_and_not_left_without_a_gradient() -> None:
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    loss = SumLoss("scaled", lambda p, t: (scale * (p - t) ** 2).sum(), Tensor.numel)
    with (
        ThreadEngine(build_model(), CUT, loss) as engine,
        pytest.raises(UsageError, match="The head, or the loss, computes with a tensor of shape"),
    ):
        engine.train_step(Windows(*make_batch()))


def test_a_block_that_stands_twice_in_a_stack_trains_once_with_both_gradients() -> None:
    def build() -> StackModel:
        model = build_model()
        model.gru.blocks[2] = model.gru.blocks[1]
        return model

    plain, model = build(), build()
    plain_loss(plain, *make_batch()).backward()
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(Windows(*make_batch())).backward()

    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_a_stack_with_parametrizations_has_a_state_dict_that_loads_again() -> None:
    model = build_model()
    part = model.gru.gru_blocks[2].gru_parts[0]
    nn.utils.parametrizations.weight_norm(part, "weight_hh_l0")
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    model.load_state_dict(state)

    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    assert isinstance(model.gru, GRUStack)
