"""A described model is built again with the same parts; what cannot be described says so."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from gru_parallel.model import (
    GRUStack,
    NegativeBinomialOutput,
    StackModel,
    StepHead,
    WindowHead,
    describe,
    model_from,
)
from tests.forecasters import build_forecaster


def build(**options: Any) -> StackModel:
    stack = GRUStack(6, 8, 5, 2, dropout=0.25, **options)
    return StackModel(nn.Linear(3, 6), stack, WindowHead(stack.output_size, (5, 2)))


MODELS = {
    "one way": build(h_0="zeros"),
    "mixed": build(bidirectional=[True, False, True], h_0=["learned", "carry", "zeros"]),
    "without biases": build(bias=False),
    "in float64": build().double(),
    "with another core": build(core="lean"),
    "with residuals and norms": build(residual=True, norm="layer"),
    "without encoder": StackModel(nn.Identity(), GRUStack(3, 8, 2), StepHead(8, 4)),
    "SegRNN": build_forecaster(),
    "segments of all channels": build_forecaster(per_channel=False, decoder=False),
    "counts": StackModel(
        nn.Linear(3, 6),
        GRUStack(6, 8, 2),
        WindowHead(8, (5, 4)),
        output=NegativeBinomialOutput((0.1, 0.9)),
    ),
    "an encoder without bias": StackModel(
        nn.Linear(2, 3, bias=False), GRUStack(3, 8, 2), WindowHead(8, (7,))
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_that_is_built_again_is_the_same(kind: str) -> None:
    model = MODELS[kind]
    description = describe(model)
    assert description is not None

    again = model_from(description)

    assert str(again) == str(model)
    again.load_state_dict(model.state_dict())
    n_channels = model.encoder.in_features if hasattr(model.encoder, "in_features") else 3
    x = torch.randn(2, 8, n_channels, dtype=next(model.parameters()).dtype)
    assert torch.equal(again.eval()(x), model.eval()(x))


def test_the_weights_of_another_rank_are_described_too() -> None:
    part = GRUStack(6, 8, 5, 2, kept_blocks={1})
    model = StackModel(nn.Linear(3, 6).to("meta"), part, WindowHead(8, (5, 2)).to("meta"))

    assert describe(model) == describe(
        StackModel(nn.Linear(3, 6), GRUStack(6, 8, 5, 2), WindowHead(8, (5, 2)))
    )


def test_what_is_not_of_this_library_is_not_described() -> None:
    encoder = StackModel(nn.Sequential(nn.Linear(3, 6)), GRUStack(6, 8, 2), StepHead(8, 4))
    head = build()
    head.head.linear = weight_norm(head.head.linear)

    assert describe(encoder) is None
    assert describe(head) is None


@pytest.mark.parametrize("kind", ["without encoder", "an encoder without bias"])
def test_a_description_without_the_name_of_the_head_is_read(kind: str) -> None:
    description = describe(MODELS[kind])
    assert description is not None
    del description["head"]["name"]

    assert str(model_from(description)) == str(MODELS[kind])


def test_a_description_without_the_core_is_read() -> None:
    description = describe(MODELS["mixed"])
    assert description is not None
    del description["stack"]["core"]

    assert str(model_from(description)) == str(MODELS["mixed"])


def test_a_description_without_a_view_is_read() -> None:
    description = describe(MODELS["mixed"])
    assert description is not None
    del description["view"], description["stack"]["drops_last"]

    assert str(model_from(description)) == str(MODELS["mixed"])
