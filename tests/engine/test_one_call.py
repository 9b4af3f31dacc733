"""A pipeline calls nn.GRU once for blocks in a row; a GPU has their weights in one piece."""

from collections.abc import Iterator
from itertools import cycle, product
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from gru_parallel import GRU
from gru_parallel.choices import AUTO_CORES
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, Windows
from gru_parallel.schedule import Cell
from gru_parallel.stage import stage
from tests.builders import HIDDEN, MSE, build_model, gradients_of, make_batch, make_plan
from tests.cudnn_stand_in import Call, refuse_what_cudnn_refuses
from tests.engine.patches import before_each_cell
from tests.processes.process_cases import RAGGED

pytestmark = pytest.mark.usefixtures("no_thread_left")

N_WEIGHTS = 4
"""Of a layer."""

MODELS: dict[str, dict[str, Any]] = {
    "zeros": {"h_0": "zeros"},
    "given": {"h_0": "given"},
    "learned and others": {"h_0": ("learned", "given", "zeros", "learned")},
    "carry": {"h_0": ("carry", "zeros", "given", "carry")},
    "previous": {"h_0": ("given", "given", "previous", "given")},
    "two layers a block": {"num_layers": 8, "layers_per_block": 2},
}


@pytest.fixture
def calls() -> Iterator[list[Call]]:
    """The recurrent calls, of an operator that wants weights in one piece."""
    with refuse_what_cudnn_refuses() as found:
        yield found


def layers_of(calls: list[Call]) -> set[int]:
    return {call.n_weights // N_WEIGHTS for call in calls}


def train(model: StackModel, n_chunks: int, lengths: Tensor | None, truncate: int | None) -> Any:
    """Train on two batches; return whatever the steps gave."""
    n_layers = model.gru.num_layers
    plan = make_plan(
        [2, 2],
        "one_f_one_b",
        2,
        n_chunks,
        num_layers=n_layers,
        layers_per_block=n_layers // 4,
        truncate=truncate,
    )
    found = []
    with ThreadEngine(model, plan, MSE) as engine:
        for step in (0, 1):
            x, y = make_batch()
            generator = torch.Generator().manual_seed(step)
            h_0 = torch.randn(
                model.gru.n_states, len(x), HIDDEN, generator=generator, dtype=x.dtype
            )
            inputs = x.requires_grad_(), h_0.requires_grad_()
            engine.train_step(Windows(x, y, lengths=lengths, h_0=h_0), step).backward()
            found += [tensor.grad for tensor in inputs]
            with torch.no_grad():
                for weight in model.parameters():
                    # The gradient of a loss at the end does not reach what is truncated.
                    weight -= 0.0 if weight.grad is None else 0.1 * weight.grad
        found.append(engine.predict(Windows(make_batch()[0], lengths=lengths)))
    return [*found, *gradients_of(model).values(), *model.parameters()]


CUTS: dict[str, tuple[int, Tensor | None, int | None]] = {
    "uncut": (1, None, None),
    "chunks": (3, None, None),
    "ragged": (3, torch.tensor(RAGGED), None),
    "truncated": (3, None, 2),
}


FEW = {*zip(MODELS, cycle(CUTS), strict=False)}
"""Every model, and every cut."""


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        pytest.param(*case, marks=[] if case in FEW else [pytest.mark.long])
        for case in product(MODELS, CUTS)
        # A barrier in time cannot be truncated.
        if case != ("previous", "truncated")
    ],
)
def test_one_call_gives_the_bits_of_many(
    name: str, cut: str, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an operator whose bits do not depend on where a state is: it is aligned in these sizes."""
    together = train(build_model(**MODELS[name]), *CUTS[cut])
    monkeypatch.setattr(stage, "joined", lambda blocks, **_: tuple(blocks))
    alone = train(build_model(**MODELS[name]), *CUTS[cut])
    for one, other in zip(together, alone, strict=True):
        assert one is other is None or torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "layers_of_calls"),
    [
        ({}, {2}),
        ({"dropout": 0.5}, {1}),
        ({"h_0": ("given", "given", "previous", "previous")}, {1}),
        ({"h_0": ("zeros", "given", "given", "given")}, {1, 2}),
        ({"bidirectional": (True, False, False, False)}, {1, 2}),
    ],
    ids=["two stages", "dropout", "previous", "another start", "both ways"],
)
def test_a_cell_is_one_call_for_all_layers_in_a_row(
    options: dict[str, Any], layers_of_calls: set[int], calls: list[Call]
) -> None:
    train(build_model(**options), *CUTS["chunks"])
    assert layers_of(calls) == layers_of_calls


def test_a_look_into_a_block_sees_what_goes_into_those_joined_to_it(calls: list[Call]) -> None:
    cells: list[Cell] = []
    x, y = make_batch()
    model = build_model()
    plan = make_plan([4], n_micro_batches=2, n_chunks=3)
    look = before_each_cell(model, 2, lambda cell, _: cells.append(cell))
    with ThreadEngine(model, plan, MSE) as engine, look:
        engine.train_step(Windows(x, y))
    assert layers_of(calls) == {4}
    assert sorted(cells) == [(m, k) for m in range(2) for k in range(3)]


def places(model: nn.Module) -> list[int]:
    return [weight.data_ptr() for weight in model.parameters()]


def test_weights_that_move_into_one_piece_stay_the_callers(calls: list[Call]) -> None:
    model, expected = build_model(), build_model()
    identities = [*map(id, model.parameters())]
    before = places(model.gru)
    found = train(model, *CUTS["chunks"])
    assert not set(places(model.gru)) & set(before)
    assert [*map(id, model.parameters())] == identities
    for one, other in zip(found, train(expected, *CUTS["chunks"]), strict=True):
        assert one is other is None or torch.equal(one, other)


def test_weights_stay_where_they_are_from_training_to_evaluation(calls: list[Call]) -> None:
    model = build_model()
    x, y = make_batch()
    with ThreadEngine(model, make_plan(), MSE) as engine:
        engine.train_step(Windows(x, y)).backward()
        before = places(model)
        model.eval()
        engine.predict(Windows(x))
        model.train()
        engine.train_step(Windows(x, y)).backward()
    assert places(model) == before


def test_a_model_that_was_trained_in_a_pipeline_runs_in_one_piece(calls: list[Call]) -> None:
    model = build_model()
    x, y = make_batch()
    with ThreadEngine(model, make_plan([4]), MSE) as engine:
        loss = engine.train_step(Windows(x, y))
        calls.clear()
        predicted = model(x)
        assert layers_of(calls) == {1}
        # Weights that have moved have not changed.
        loss.backward()
        calls.clear()
        assert torch.equal(engine.predict(Windows(x)), predicted)
        assert layers_of(calls) == {4}


def build_with_shared_weight() -> StackModel:
    model = build_model()
    first, last = (model.gru.gru_blocks[k].gru_parts[0] for k in (1, 3))
    last.weight_hh_l0 = first.weight_hh_l0
    return model


def test_stages_that_share_a_weight_both_see_it_change() -> None:
    with patch.dict(AUTO_CORES, clear=True):
        expected = train(build_with_shared_weight(), *CUTS["chunks"])
    with refuse_what_cudnn_refuses(copies_weights=True):
        found = train(build_with_shared_weight(), *CUTS["chunks"])
    for one, other in zip(found, expected, strict=True):
        assert one is other is None or torch.equal(one, other)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("device_map", [None, ["cpu:0", "cpu:0", "cpu:1", "cpu:1"]])
def test_the_drop_in_calls_once_too(
    device_map: list[str] | None, dropout: float, calls: list[Call]
) -> None:
    gru = GRU(3, 5, 4, device_map=device_map, n_chunks=2, dropout=dropout)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        gru.eval()(x.float())
        gru.double()(x)
    before = places(gru)
    # In evaluation mode there is no backward.
    y, _ = gru.train()(x)
    y.sum().backward()
    with torch.no_grad():
        for weight in gru.parameters():
            weight.zero_()
        assert not gru(x)[0].any()
    assert places(gru) == before
    assert layers_of(calls) == {1 if dropout else 4 if device_map is None else 2}
    assert y.any()
