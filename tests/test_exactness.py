"""Pipelined training is training: every engine, schedule and shape against one piece."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, StepHead, Windows
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule import SCHEDULES
from tests.builders import (
    CUTS_OF_4,
    HIDDEN,
    MSE,
    N_TARGETS,
    TOLERANCE,
    WIDTH,
    Result,
    assert_close,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
    run_engine,
    run_in_one_piece,
)
from tests.grids import covering

ENGINES: dict[str, Callable[..., Any]] = {"threads": ThreadEngine}

# (blocks of each stage, n_micro_batches, n_chunks) for a batch of 5 windows of 7 steps, or of as
# many as there are cells.
SHAPES = {
    "one stage, uncut": ([4], 1, 1),
    "one stage, cut both ways": ([4], 2, 3),
    "chunks only, ragged": ([2, 2], 1, 4),
    "micro-batches only, ragged": ([1, 3], 3, 1),
    "both ragged": ([3, 1], 2, 3),
    "a chunk a step, a micro-batch a row": ([1, 1, 1, 1], 3, 4),
    "batch smaller than n_micro_batches": ([2, 1, 1], 9, 2),
}


def run_in_pieces(engine: str, model: StackModel, plan: Plan, x: Tensor, y: Tensor) -> Result:
    with ENGINES[engine](model, plan, MSE) as opened:
        return run_engine(opened, x, y)


@covering(
    2, engine=ENGINES, schedule=SCHEDULES, shape=SHAPES, every_step=[False, True], dtype=TOLERANCE
)
def test_a_pipelined_step_equals_the_model_in_one_piece(
    engine: str, schedule: str, shape: str, every_step: bool, dtype: torch.dtype
) -> None:
    blocks, n_micro_batches, n_chunks = SHAPES[shape]
    n_rows, n_steps = (n_micro_batches, n_chunks) if shape.startswith("a chunk a step") else (5, 7)
    x, y = make_batch(n_rows, n_steps, every_step=every_step, dtype=dtype)
    expected = run_in_one_piece(build_model(every_step=every_step, dtype=dtype), x, y)

    plan = make_plan(blocks, schedule, n_micro_batches, n_chunks)
    model = build_model(every_step=every_step, dtype=dtype)
    actual = run_in_pieces(engine, model, plan, x, y)

    assert_close(actual, expected, TOLERANCE[dtype])


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    num_layers = draw(st.integers(1, 6))
    layers_per_block = draw(st.integers(1, num_layers))
    n_blocks = -(-num_layers // layers_per_block)
    # A stage ends after the blocks drawn here, and after the last one.
    ends = sorted(draw(st.sets(st.integers(1, n_blocks), max_size=3)) | {n_blocks})
    n_steps = draw(st.integers(1, 9))
    return {
        "num_layers": num_layers,
        "layers_per_block": layers_per_block,
        "blocks": [end - start for start, end in zip([0, *ends], ends, strict=False)],
        "n_steps": n_steps,
        "batch_size": draw(st.integers(1, 6)),
        "n_micro_batches": draw(st.integers(1, 7)),
        "n_chunks": draw(st.integers(1, n_steps)),
        "schedule": draw(st.sampled_from(sorted(SCHEDULES))),
        "every_step": draw(st.booleans()),
        "dtype": draw(st.sampled_from([torch.float64, torch.float32])),
        "engine": draw(st.sampled_from(sorted(ENGINES))),
    }


@settings(max_examples=10)
@given(cases())
def test_any_cut_of_any_batch_equals_the_model_in_one_piece(case: dict[str, Any]) -> None:
    check(case)


@pytest.mark.long
@settings(max_examples=400)
@given(cases())
def test_so_do_many_more(case: dict[str, Any]) -> None:
    check(case)


def check(case: dict[str, Any]) -> None:
    kind = {"every_step": case["every_step"], "dtype": case["dtype"]}
    x, y = make_batch(case["batch_size"], case["n_steps"], **kind)
    # In one piece, and with all layers in one call of nn.GRU.
    whole = build_model(case["num_layers"], case["num_layers"], **kind)
    expected = run_in_one_piece(whole, x, y)

    model = build_model(case["num_layers"], case["layers_per_block"], **kind)
    plan = make_plan(
        case["blocks"],
        case["schedule"],
        case["n_micro_batches"],
        case["n_chunks"],
        num_layers=case["num_layers"],
        layers_per_block=case["layers_per_block"],
    )
    actual = run_in_pieces(case["engine"], model, plan, x, y)

    by_layer = zip(expected.gradients, actual.gradients, strict=True)
    renamed = {ours: expected.gradients[theirs] for theirs, ours in by_layer}
    assert_close(
        actual, Result(expected.loss, expected.predictions, renamed), TOLERANCE[case["dtype"]]
    )


class PlainGRU(nn.Module):
    """The same model with nothing of this library in it."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, WIDTH)
        self.gru = nn.GRU(WIDTH, HIDDEN, num_layers)
        self.linear = nn.Linear(HIDDEN, N_TARGETS)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.gru(self.encoder(x.transpose(0, 1)))
        scores: Tensor = self.linear(y)
        return scores.transpose(0, 1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_pipelined_step_equals_plain_nn_gru_and_linear(
    engine: str, schedule: str, dtype: torch.dtype
) -> None:
    model = build_model(every_step=True, dtype=dtype)
    assert isinstance(model.head, StepHead)
    plain = PlainGRU(4).to(dtype)
    plain.encoder.load_state_dict(model.encoder.state_dict())
    plain.gru.load_state_dict(model.gru.state_dict())
    plain.linear.load_state_dict(model.head.linear.state_dict())
    x, y = make_batch(every_step=True, dtype=dtype)
    predictions = plain(x)
    loss = (predictions - y).square().mean()
    loss.backward()

    actual = run_in_pieces(engine, model, make_plan([1, 2, 1], schedule, 2, 3), x, y)

    assert relative_error(actual.predictions, predictions) <= TOLERANCE[dtype]
    assert relative_error(actual.loss, loss) <= TOLERANCE[dtype]
    in_order = dict(zip(actual.gradients, gradients_of(plain).values(), strict=True))
    assert_gradients_close(actual.gradients, in_order, TOLERANCE[dtype])


def train(
    engine: str,
    plan: Plan,
    *,
    every_step: bool = False,
    n_steps: int = 2,
    layers_per_block: int = 1,
) -> list[Tensor]:
    """Train for a few steps with dropout and clipping; return losses, gradients and weights."""
    model = build_model(
        plan.num_layers, layers_per_block, every_step=every_step, dropout=0.3, dtype=torch.float32
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    seen: list[Tensor] = []
    with ENGINES[engine](model, plan, MSE, seed=7) as opened:
        for step in range(n_steps):
            x, y = make_batch(5, 7, every_step=every_step, dtype=torch.float32, seed=step)
            optimizer.zero_grad()
            loss = opened.train_step(Windows(x, y), step=step)
            loss.backward()
            seen.append(loss.detach())
            seen += [p.grad.clone() for p in model.parameters() if p.grad is not None]
            # Small enough to clip in every step.
            seen.append(nn.utils.clip_grad_norm_(model.parameters(), 0.05))
            optimizer.step()
    return [*seen, *(p.detach().clone() for p in model.parameters())]


@covering(
    1,
    engine=ENGINES,
    schedule=SCHEDULES,
    grid=[(1, 1), (1, 4), (3, 1), (2, 3)],
    every_step=[False, True],
)
def test_training_is_bit_for_bit_the_same_on_every_device_map(
    engine: str, schedule: str, grid: tuple[int, int], every_step: bool
) -> None:
    runs = [
        train(engine, make_plan(blocks, schedule, *grid), every_step=every_step)
        for blocks in CUTS_OF_4
    ]

    # A loss, a norm and 20 gradients (encoder 2, layers 16, head 2) a step, 20 weights at the end.
    assert len(runs[0]) == 2 * (1 + 1 + 20) + 20
    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_training_is_bit_for_bit_the_same_with_several_layers_a_block(engine: str) -> None:
    runs = [
        train(
            engine,
            make_plan(blocks, "gpipe", 2, 3, num_layers=4, layers_per_block=layers_per_block),
            layers_per_block=layers_per_block,
        )
        for blocks, layers_per_block in (([1, 3], 1), ([1, 1], 2), ([2], 2), ([1], 4))
    ]

    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_training_repeats_itself_and_with_dropout_depends_on_the_grid(
    engine: str,
) -> None:
    """Keeps the tests above honest: what they compare does depend on what dropout drops."""
    first = train(engine, make_plan([2, 2], "gpipe", 2, 3))
    again = train(engine, make_plan([2, 2], "gpipe", 2, 3))
    other_grid = train(engine, make_plan([2, 2], "gpipe", 1, 3))

    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other_grid[0])
