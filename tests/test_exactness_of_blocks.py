"""Every kind of block, batch and cut of gradients through a pipeline, against one piece."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gru_parallel.choices import NORMS
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import StackModel, Start, Windows
from gru_parallel.placement.plan import Plan
from gru_parallel.schedule import SCHEDULES
from tests.builders import (
    HIDDEN,
    MSE,
    Result,
    assert_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
)
from tests.grids import covering

TOLERANCE = 1e-12


@dataclass(frozen=True)
class Extras:
    """What a batch brings beside windows and targets."""

    lengths: Tensor | None = None
    h_0: Tensor | None = None
    reset: Tensor | None = None

    def options(self) -> dict[str, Any]:
        return {"lengths": self.lengths, "h_0": self.h_0, "reset": self.reset}


def masked_loss(prediction: Tensor, y: Tensor, lengths: Tensor | None, every_step: bool) -> Tensor:
    """The mean squared error over what is there."""
    if lengths is not None and every_step:
        runs = torch.arange(y.shape[1]) < lengths.unsqueeze(1)
        prediction, y = prediction[runs], y[runs]
    return (prediction - y).square().mean()


def in_one_piece(
    model: StackModel, x: Tensor, y: Tensor, extras: Extras, carried: Tensor | None = None
) -> tuple[Result, Tensor]:
    """Train as plain PyTorch does; return the state in which the stack ends, too."""
    start = Start(extras.h_0, carried, extras.reset)
    prediction, h_n = model.run(x, lengths=extras.lengths, start=start)
    loss = masked_loss(prediction, y, extras.lengths, model.head.every_step)
    loss.backward()
    return Result(loss.detach(), prediction.detach(), gradients_of(model)), h_n.detach()


def in_pieces(
    model: StackModel, plan: Plan, x: Tensor, y: Tensor, extras: Extras | None = None
) -> Result:
    options = (extras or Extras()).options()
    with ThreadEngine(model, plan, MSE) as engine:
        prediction = engine.predict(Windows(x, **options))
        loss = engine.train_step(Windows(x, y, **options))
        loss.backward()
    return Result(loss.detach(), prediction, gradients_of(model))


def make_h_0(n_states: int, batch_size: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(n_states, batch_size, HIDDEN, generator=generator, dtype=torch.float64)


STACKS: dict[str, dict[str, Any]] = {
    "forward": {},
    "bidirectional": {"bidirectional": True},
    "bidirectional first": {"bidirectional": [True, False, False, False]},
    "bidirectional in the middle": {"bidirectional": [False, True, False, False]},
    "bidirectional last": {"bidirectional": [False, False, False, True]},
    "learned": {"h_0": "learned"},
    "learned both ways": {"h_0": "learned", "bidirectional": True},
    "zeros in the second half": {"h_0": ["given", "given", "zeros", "zeros"]},
    "previous": {"h_0": ["learned", "previous", "given", "previous"]},
    "previous throughout": {"h_0": ["given", "previous", "previous", "previous"]},
    "previous both ways": {
        "h_0": ["given", "previous", "zeros", "previous"],
        "bidirectional": True,
    },
    "residuals and norms": {"residual": True, "norm": "layer"},
    "residuals and norms both ways": {
        "residual": True,
        "norm": "layer",
        "bidirectional": [False, True, True, False],
        "h_0": "learned",
    },
}
GRIDS = {"uncut": (1, 1), "both ragged": (2, 3), "a cell a step and row": (3, 4)}


def shape_for(grid: str) -> tuple[int, int]:
    """Rows and steps of a batch; fewer of them where each is a cell of its own."""
    return GRIDS[grid] if grid == "a cell a step and row" else (5, 7)


@covering(
    1,
    stack=STACKS,
    schedule=SCHEDULES,
    blocks=[[4], [2, 2], [1, 1, 1, 1]],
    grid=GRIDS,
    every_step=[False, True],
)
def test_every_kind_of_block_in_a_pipeline_equals_one_piece(
    stack: str, schedule: str, blocks: list[int], grid: str, every_step: bool
) -> None:
    options = {"every_step": every_step, **STACKS[stack]}
    x, y = make_batch(*shape_for(grid), every_step=every_step)
    whole = build_model(**options)
    given = make_h_0(whole.gru.n_states, len(x))
    extras = Extras(h_0=given.clone().requires_grad_())
    expected, _ = in_one_piece(whole, x, y, extras)

    own = Extras(h_0=given.clone().requires_grad_())
    actual = in_pieces(build_model(**options), make_plan(blocks, schedule, *GRIDS[grid]), x, y, own)

    assert_close(actual, expected, TOLERANCE)
    assert own.h_0 is not None
    assert extras.h_0 is not None
    if extras.h_0.grad is not None:
        assert own.h_0.grad is not None
        assert relative_error(own.h_0.grad, extras.h_0.grad) <= TOLERANCE


LENGTHS = {"spread": [1, 7, 3, 7, 2], "equal": [4, 4, 4, 4, 4], "one long": [1, 1, 7, 1, 1]}


@covering(
    1,
    stack=["forward", "bidirectional in the middle", "previous", "residuals and norms both ways"],
    lengths=LENGTHS,
    schedule=SCHEDULES,
    grid=GRIDS,
    every_step=[False, True],
)
def test_sequences_of_unequal_length_equal_each_of_them_alone(
    stack: str, lengths: str, schedule: str, grid: str, every_step: bool
) -> None:
    options = {"every_step": every_step, **STACKS[stack]}
    n_rows, n_steps = shape_for(grid)
    x, y = make_batch(n_rows, n_steps, every_step=every_step)
    of_rows = [min(length, n_steps) for length in LENGTHS[lengths][:n_rows]]
    own = torch.tensor(of_rows)
    for row, length in enumerate(of_rows):
        x[row, length:] = torch.nan
        if every_step:
            y[row, length:] = torch.nan
    alone = build_model(**options)
    totals, count = [], 0
    for row, length in enumerate(of_rows):
        prediction = alone(x[row : row + 1, :length])
        target = y[row : row + 1, :length] if every_step else y[row : row + 1]
        totals.append((prediction - target).square().sum())
        count += target.numel()
    loss = torch.stack(totals).sum() / count
    loss.backward()

    model = build_model(**options)
    with ThreadEngine(model, make_plan([2, 2], schedule, *GRIDS[grid]), MSE) as engine:
        predictions = engine.predict(Windows(x, lengths=own))
        found = engine.train_step(Windows(x, y, lengths=own))
        found.backward()

    assert relative_error(found, loss) <= TOLERANCE
    for name, gradient in gradients_of(alone).items():
        actual = gradients_of(model)[name]
        assert gradient is not None
        assert actual is not None
        assert relative_error(actual, gradient) <= TOLERANCE, name
    for row, length in enumerate(of_rows):
        expected = alone(x[row : row + 1, :length])[0]
        shown = predictions[row, :length] if every_step else predictions[row]
        assert relative_error(shown, expected) <= TOLERANCE
        assert not (every_step and predictions[row, length:].any())


@covering(1, stack=STACKS, every_step=[False, True], lengths=LENGTHS)
def test_one_piece_itself_equals_each_sequence_alone(
    stack: str, every_step: bool, lengths: str
) -> None:
    """Keeps the reference of the tests above honest."""
    model = build_model(every_step=every_step, **STACKS[stack])
    x, _ = make_batch()

    together = model(x, lengths=torch.tensor(LENGTHS[lengths]))

    for row, length in enumerate(LENGTHS[lengths]):
        expected = model(x[row : row + 1, :length])[0]
        found = together[row, :length] if every_step else together[row]
        assert relative_error(found, expected) <= TOLERANCE


def truncated_in_one_piece(model: StackModel, x: Tensor, y: Tensor, steps: list[int]) -> Tensor:
    """The plain loop: segment by segment, the state detached in between; a step head."""
    total = torch.zeros((), dtype=x.dtype)
    h: Tensor | None = None
    for piece, target in zip(x.split(steps, 1), y.split(steps, 1), strict=True):
        prediction, h = model.run(piece, start=Start(h))
        loss = (prediction - target).square().sum() / y.numel()
        loss.backward()
        h = h.detach()
        total += loss.detach()
    return total


STEPS_OF_SEGMENTS = {1: [2, 2, 2, 1], 2: [4, 3], 3: [6, 1]}
"""Of a window of 7 steps in 4 chunks, by `truncate`."""


@covering(1, truncate=STEPS_OF_SEGMENTS, schedule=SCHEDULES, blocks=[[4], [2, 2], [1, 1, 2]])
def test_truncation_equals_a_plain_loop_with_detach(
    truncate: int, schedule: str, blocks: list[int]
) -> None:
    steps = STEPS_OF_SEGMENTS[truncate]
    x, y = make_batch(every_step=True)
    plain = build_model(every_step=True)
    expected = truncated_in_one_piece(plain, x, y, steps)

    model = build_model(every_step=True)
    plan = make_plan(blocks, schedule, 2, 4, truncate=truncate)
    actual = in_pieces(model, plan, x, y)

    assert relative_error(actual.loss, expected) <= TOLERANCE
    full = build_model(every_step=True)
    untruncated, _ = in_one_piece(full, x, y, Extras())
    for name, gradient in gradients_of(plain).items():
        found, other = actual.gradients[name], untruncated.gradients[name]
        assert found is not None
        assert gradient is not None
        assert other is not None
        assert relative_error(found, gradient) <= TOLERANCE, name
        # The test would not pass without truncation.
        if "weight_hh" in name:
            assert relative_error(found, other) > 1e-6, name


@pytest.mark.parametrize("n_chunks", [4, 12])
def test_truncation_keeps_at_most_as_many_segments_as_there_are_stages(n_chunks: int) -> None:
    x, y = make_batch(n_steps=12, every_step=True)
    plan = make_plan([2, 1, 1], "one_f_one_b", 1, n_chunks, truncate=1)
    with ThreadEngine(build_model(every_step=True), plan, MSE) as engine:
        engine.train_step(Windows(x, y))

    assert engine.peak_cells == (3, 2, 1)


@pytest.mark.parametrize("blocks", [[4], [2, 2]], ids=str)
@pytest.mark.parametrize("grid", GRIDS)
def test_states_that_are_carried_equal_a_plain_loop_with_detach(
    grid: str, blocks: list[int]
) -> None:
    options: dict[str, Any] = {"h_0": ["carry", "zeros", "carry", "carry"]}
    plain, model = build_model(**options), build_model(**options)
    n_rows, n_steps = shape_for(grid)
    resets = [None, torch.tensor([False, True, False, False, True])[:n_rows], None]
    carried: Tensor | None = None
    with ThreadEngine(model, make_plan(blocks, "one_f_one_b", *GRIDS[grid]), MSE) as engine:
        for batch, reset in enumerate(resets):
            x, y = make_batch(n_rows, n_steps, seed=batch)
            plain.zero_grad()
            model.zero_grad()
            expected, carried = in_one_piece(plain, x, y, Extras(reset=reset), carried)
            # Prediction has states of its own, and leaves those of training alone.
            engine.predict(Windows(x, reset=torch.ones(n_rows, dtype=torch.bool)))
            loss = engine.train_step(Windows(x, y, reset=reset))
            loss.backward()
            actual = Result(loss.detach(), expected.predictions, gradients_of(model))
            assert_close(actual, expected, TOLERANCE)


@covering(
    1,
    schedule=SCHEDULES,
    lengths=[None, [1, 7, 3, 7, 2]],
    stack=[
        "forward",
        "bidirectional in the middle",
        "previous",
        "previous both ways",
        "residuals and norms",
    ],
)
def test_training_is_bit_for_bit_the_same_on_every_device_map(
    schedule: str, lengths: list[int] | None, stack: str
) -> None:
    def train(blocks: Sequence[int]) -> list[Tensor]:
        model = build_model(dropout=0.3, dtype=torch.float32, **STACKS[stack])
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        own = None if lengths is None else torch.tensor(lengths)
        seen = []
        with ThreadEngine(model, make_plan(blocks, schedule, 2, 3), MSE, seed=7) as engine:
            for step in range(2):
                x, y = make_batch(dtype=torch.float32, seed=step)
                optimizer.zero_grad()
                loss = engine.train_step(Windows(x, y, lengths=own), step=step)
                loss.backward()
                optimizer.step()
                seen.append(loss.detach())
        return [*seen, *(p.detach().clone() for p in model.parameters())]

    first, *others = [train(blocks) for blocks in ([4], [1, 3], [1, 1, 1, 1])]

    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(other, first, strict=True))


@dataclass(frozen=True)
class Case:
    """A random model, batch and cut."""

    model: dict[str, Any]
    blocks: list[int]
    grid: tuple[int, int]
    schedule: str
    shape: tuple[int, int]
    lengths: list[int] | None = None
    policies: list[str] = field(default_factory=list)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_blocks = draw(st.integers(1, 4))
    ends = sorted(draw(st.sets(st.integers(1, n_blocks), max_size=3)) | {n_blocks})
    batch_size, n_steps = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    both_ways = draw(st.lists(st.booleans(), min_size=n_blocks, max_size=n_blocks))
    policies = []
    for block in range(n_blocks):
        possible = ["zeros", "given", "learned"]
        if block and both_ways[block] == both_ways[block - 1]:
            possible.append("previous")
        policies.append(draw(st.sampled_from(possible)))
    lengths = st.lists(st.integers(1, n_steps), min_size=batch_size, max_size=batch_size)
    return Case(
        {
            "num_layers": 2 * n_blocks,
            "layers_per_block": 2,
            "bidirectional": both_ways,
            "h_0": policies,
            "every_step": draw(st.booleans()),
            "residual": draw(st.booleans()),
            "norm": draw(st.sampled_from(NORMS)),
        },
        [end - start for start, end in zip([0, *ends], ends, strict=False)],
        (draw(st.integers(1, 7)), draw(st.integers(1, n_steps))),
        draw(st.sampled_from(sorted(SCHEDULES))),
        (batch_size, n_steps),
        draw(st.none() | lengths),
    )


@settings(max_examples=10)
@given(cases())
def test_any_stack_and_any_batch_in_a_pipeline_equal_one_piece(case: Case) -> None:
    check(case)


@pytest.mark.long
@settings(max_examples=400)
@given(cases())
def test_so_do_many_more(case: Case) -> None:
    check(case)


def check(case: Case) -> None:
    every_step = case.model["every_step"]
    x, y = make_batch(*case.shape, every_step=every_step)
    whole = build_model(**case.model)
    lengths = None if case.lengths is None else torch.tensor(case.lengths)
    extras = Extras(lengths, make_h_0(whole.gru.n_states, case.shape[0]))
    expected, _ = in_one_piece(whole, x, y, extras)

    model = build_model(**case.model)
    plan = make_plan(case.blocks, case.schedule, *case.grid, layers_per_block=2)
    actual = in_pieces(model, plan, x, y, extras)

    assert_close(actual, expected, TOLERANCE)
