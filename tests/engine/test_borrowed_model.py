"""A model is looked at once, and again as soon as anything in it has changed."""

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations

from gru_parallel.engine.stand_ins import StandIns
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, WindowHead, Windows
from tests.builders import MSE, WIDTH, build_model, gradients_of, make_batch, make_plan


@contextmanager
def looks() -> Iterator[list[None]]:
    """Count how often stand-ins are made of a model."""
    made: list[None] = []
    make = StandIns.__init__

    def counted(self: StandIns, asked: Mapping[str, torch.dtype | None]) -> None:
        made.append(None)
        make(self, asked)

    with patch.object(StandIns, "__init__", counted):
        yield made


def step(engine: ThreadEngine) -> Tensor:
    loss = engine.train_step(Windows(*make_batch()))
    loss.backward()
    return loss.detach()


def test_a_model_that_stays_as_it_is_is_looked_at_once() -> None:
    model = build_model()
    with looks() as made, ThreadEngine(model, make_plan((2, 2), "gpipe", 2, 2), MSE) as engine:
        for _ in range(3):
            step(engine)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.sub_(0.01)
            engine.predict(Windows(make_batch()[0]))
            # Cut otherwise, it is checked again, and the stand-ins stay.
            engine.predict(Windows(make_batch()[0], lengths=torch.tensor([7, 7, 6, 3, 1])))
    assert len(made) == 1


def test_training_and_evaluation_by_turns_are_looked_at_once_each() -> None:
    model = build_model(dropout=0.5)
    with looks() as made, ThreadEngine(model, make_plan((2, 2), "gpipe", 2, 2), MSE) as engine:
        for _ in range(3):
            model.train()
            step(engine)
            model.eval()
            engine.predict(Windows(make_batch()[0]))
    assert len(made) == 2


def test_looks_at_weights_that_are_gone_are_forgotten() -> None:
    model = build_model()
    with ThreadEngine(model, make_plan((2, 2), "gpipe", 2, 2), MSE) as engine:
        step(engine)
        gone = weakref.ref(model.head.linear.bias)
        model.eval()
        replace_weight(model)
        step(engine)
        gc.collect()
        assert gone() is None


def set_new_memory(model: StackModel) -> None:
    model.head.linear.weight.data = model.head.linear.weight.data.clone()


def replace_weight(model: StackModel) -> None:
    model.head.linear.bias = nn.Parameter(torch.ones_like(model.head.linear.bias))


def replace_module(model: StackModel) -> None:
    model.encoder = nn.Sequential(model.encoder, nn.Tanh())


def freeze(model: StackModel) -> None:
    model.encoder.requires_grad_(False)


def evaluate(model: StackModel) -> None:
    model.eval()


def set_attribute(model: StackModel) -> None:
    model.head.scale = 2.0


def hook(model: StackModel) -> None:
    model.head.register_forward_pre_hook(lambda *_: None)


CHANGES = (set_new_memory, replace_weight, replace_module, freeze, evaluate, set_attribute, hook)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_seen_at_the_next_call(change: Callable[[StackModel], None]) -> None:
    model, whole = build_model(), build_model()
    with looks() as made, ThreadEngine(model, make_plan((2, 2), "gpipe", 1, 2), MSE) as engine:
        step(engine)
        model.zero_grad()
        for each in (model, whole):
            change(each)
        loss = step(engine)
    assert len(made) == 2
    x, y = make_batch()
    expected = nn.functional.mse_loss(whole(x), y)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
    for name, gradient in gradients_of(whole).items():
        torch.testing.assert_close(gradients_of(model)[name], gradient, rtol=1e-10, atol=1e-13)


class Scaled(WindowHead):
    """Multiplies by an attribute, whatever its name."""

    stepwise = True

    def forward(self, y: Tensor) -> Tensor:
        """Predict, and scale."""
        factor = self.factor if hasattr(self, "factor") else -self.other
        return super().forward(y) * factor


def test_a_new_name_for_the_same_thing_is_a_change() -> None:
    model = build_model()
    model.head = Scaled(8, (5, 2)).double()
    factor = 2.5
    model.head.factor = factor
    with ThreadEngine(model, make_plan((2, 2), "gpipe", 1, 2), MSE) as engine:
        before = engine.predict(Windows(make_batch()[0]))
        del model.head.factor
        model.head.other = factor
        after = engine.predict(Windows(make_batch()[0]))
    assert torch.equal(after, -before)


@pytest.mark.parametrize("kind", ["buffer", "tensor"])
def test_a_weight_that_is_no_parameter_is_asked_for_at_each_call(kind: str) -> None:
    model, whole = build_model(), build_model()
    for each in (model, whole):
        part = each.gru.gru_blocks[1].gru_parts[0]
        weight = part.weight_hh_l0.detach().clone()
        del part.weight_hh_l0
        if kind == "buffer":
            part.register_buffer("weight_hh_l0", weight)
        else:
            part.weight_hh_l0 = weight
    x, y = make_batch()
    with ThreadEngine(model, make_plan((2, 2), "gpipe", 1, 2), MSE) as engine:
        step(engine)
        for each in (model, whole):
            each.gru.gru_blocks[1].gru_parts[0].weight_hh_l0.data = weight * 0.5
        loss = step(engine)
    expected = nn.functional.mse_loss(whole(x), y)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)


def test_a_weight_that_is_made_anew_is_asked_for_at_each_call() -> None:
    model = build_model()
    parametrizations.weight_norm(model.encoder)
    with looks() as made, ThreadEngine(model, make_plan(), MSE) as engine:
        step(engine)
        step(engine)
    assert len(made) == 2


class Counting(nn.Linear):
    """Counts its calls in an attribute."""

    stepwise = True
    n_calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Count, and do what a linear layer does."""
        self.n_calls += 1
        return super().forward(x)


def test_what_forward_sets_does_not_reach_the_next_call() -> None:
    model = build_model()
    counting = Counting(3, WIDTH, dtype=torch.float64)
    model.encoder = counting
    seen: list[int] = []
    forward = Counting.forward

    def noted(self: Counting, x: Tensor) -> Tensor:
        seen.append(self.n_calls)
        return forward(self, x)

    plan = make_plan((2, 2), "gpipe", 1, 2)
    with patch.object(Counting, "forward", noted), ThreadEngine(model, plan, MSE) as engine:
        step(engine)
        step(engine)
    assert seen == [0, 1, 0, 1]
    assert counting.n_calls == 0


def test_a_hook_for_all_modules_sees_none_of_the_pieces() -> None:
    model = build_model()
    seen: list[nn.Module] = []

    def note(module: nn.Module, *_: Any) -> None:
        seen.append(module)

    with ThreadEngine(model, make_plan(), MSE) as engine:
        step(engine)
        handle = register_module_forward_hook(note)
        try:
            step(engine)
        finally:
            handle.remove()
        step(engine)
    assert seen == []


def test_training_may_follow_a_prediction_in_inference_mode() -> None:
    model = build_model()
    with looks() as made, ThreadEngine(model, make_plan(), MSE) as engine:
        with torch.inference_mode():
            engine.predict(Windows(make_batch()[0]))
        step(engine)
    assert len(made) == 1
    assert all(gradient is not None for gradient in gradients_of(model).values())
