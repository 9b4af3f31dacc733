"""A program may change its model between steps; the next step uses what is there."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import UsageError
from gru_parallel.model import StackModel, WindowHead, Windows
from tests.builders import (
    HIDDEN,
    HORIZON,
    MSE,
    N_CHANNELS,
    N_TARGETS,
    WIDTH,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
)
from tests.engine.plain import CUT, CUTS, assert_equal_gradients, plain_loss
from tests.grids import covering

pytestmark = pytest.mark.usefixtures("no_thread_left")


def replace_head(model: StackModel) -> None:
    model.head = WindowHead(HIDDEN, (HORIZON, N_TARGETS)).double()


def replace_linear_of_head(model: StackModel) -> None:
    model.head.linear = nn.Linear(HIDDEN, HORIZON * N_TARGETS).double()


def replace_encoder(model: StackModel) -> None:
    model.encoder = nn.Sequential(nn.Linear(N_CHANNELS, WIDTH), nn.Tanh()).double()


def replace_block(model: StackModel) -> None:
    model.gru.blocks[2] = build_model(seed=9).gru.blocks[2]


def replace_weight(model: StackModel) -> None:
    part = model.gru.gru_blocks[1].gru_parts[0]
    part.weight_hh_l0 = nn.Parameter(torch.randn_like(part.weight_hh_l0))


def replace_stack(model: StackModel) -> None:
    model.gru = build_model(seed=9).gru


def turn_round(model: StackModel) -> None:
    model.gru.blocks[3] = build_model(h_0=["zeros"] * 3 + ["previous"]).gru.blocks[3]


def thaw(model: StackModel) -> None:
    model.gru.blocks[0].requires_grad_(True)


def free_layer_norm(model: StackModel) -> None:
    model.head.linear = nn.Sequential(nn.LayerNorm(HIDDEN), model.head.linear).double()


CHANGES: dict[str, Callable[[StackModel], None]] = {
    change.__name__: change
    for change in (
        replace_head,
        replace_linear_of_head,
        replace_encoder,
        replace_block,
        replace_weight,
        replace_stack,
        turn_round,
        thaw,
        free_layer_norm,
    )
}


@covering(1, change=CHANGES, cut=CUTS)
def test_what_is_changed_between_steps_is_what_trains(change: str, cut: str) -> None:
    def steps(model: StackModel, loss_of: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        torch.manual_seed(3)
        model.gru.blocks[0].requires_grad_(False)
        losses = [loss_of(*make_batch())]
        losses[0].backward()
        CHANGES[change](model)
        model.zero_grad()
        losses.append(loss_of(*make_batch(seed=4)))
        losses[1].backward()
        return losses

    plain, model = build_model(), build_model()
    expected = steps(plain, lambda x, y: plain_loss(plain, x, y))
    with ThreadEngine(model, make_plan(*CUTS[cut]), MSE) as engine:
        found = steps(model, lambda x, y: engine.train_step(Windows(x, y)))

    assert_equal_gradients(found, expected)
    assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-11)


def test_another_number_of_blocks_is_refused_at_the_next_step() -> None:
    model = build_model()
    with ThreadEngine(model, CUT, MSE) as engine:
        engine.train_step(Windows(*make_batch()))
        model.gru = build_model(5).gru
        with pytest.raises(UsageError, match="plan places 4 blocks, the model has 5"):
            engine.train_step(Windows(*make_batch()))


def test_a_forward_that_was_replaced_is_refused() -> None:
    model = build_model()
    part = model.gru.gru_blocks[1].gru_parts[0]
    part.__dict__["forward"] = part.forward
    with (
        ThreadEngine(model, CUT, MSE) as engine,
        pytest.raises(UsageError, match="forward of a GRU was replaced"),
    ):
        engine.train_step(Windows(*make_batch()))
