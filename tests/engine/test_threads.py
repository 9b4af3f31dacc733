"""ThreadEngine as a user meets it: training, evaluation, and what a loss's backward does."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import UsageError
from gru_parallel.model import LOSSES, GRUStack, StackModel, StepHead, WindowHead, Windows
from tests.builders import (
    HIDDEN,
    HORIZON,
    MSE,
    N_CHANNELS,
    N_TARGETS,
    WIDTH,
    Result,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
    run_in_one_piece,
)
from tests.grids import covering

PLAN = make_plan([1, 2, 1], "one_f_one_b", 3, 3)


@pytest.fixture
def model() -> StackModel:
    return build_model()


@pytest.fixture
def engine(model: StackModel) -> Iterator[ThreadEngine]:
    with ThreadEngine(model, PLAN, MSE) as opened:
        yield opened


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return make_batch()


@pytest.fixture
def expected(batch: tuple[Tensor, Tensor]) -> Result:
    return run_in_one_piece(build_model(), *batch)


def assert_gradients_are(model: StackModel, expected: Result, times: float = 1.0) -> None:
    scaled = {n: None if g is None else g * times for n, g in expected.gradients.items()}
    assert_gradients_close(gradients_of(model), scaled, 1e-12)


def test_evaluation_before_between_and_after_training_changes_nothing(
    engine: ThreadEngine, model: StackModel, batch: tuple[Tensor, Tensor], expected: Result
) -> None:
    x, y = batch
    other, _ = make_batch(batch_size=2, n_steps=4, seed=9)
    with torch.no_grad():
        expected_other = build_model()(other)

    for _ in range(2):
        assert relative_error(engine.predict(Windows(other)), expected_other) <= 1e-12
        model.zero_grad()
        loss = engine.train_step(Windows(x, y))
        assert relative_error(engine.predict(Windows(x)), expected.predictions) <= 1e-12
        loss.backward()
        assert relative_error(loss, expected.loss) <= 1e-12
        assert_gradients_are(model, expected)
        assert relative_error(engine.predict(Windows(other)), expected_other) <= 1e-12


def test_predictions_have_no_history_and_leave_gradients_alone(
    engine: ThreadEngine, model: StackModel, batch: tuple[Tensor, Tensor]
) -> None:
    prediction = engine.predict(Windows(batch[0]))

    assert not prediction.requires_grad
    assert set(gradients_of(model).values()) == {None}
    assert engine.peak_cells == (0, 0, 0)


@pytest.mark.parametrize("every_step", [False, True])
def test_predictions_of_every_row_come_in_order(every_step: bool) -> None:
    x, _ = make_batch(batch_size=7, n_steps=5)
    model = build_model(every_step=every_step)
    with ThreadEngine(model, make_plan([2, 2], "gpipe", 3, 4)) as engine:
        together = engine.predict(Windows(x))
        alone = torch.cat([engine.predict(Windows(row[None])) for row in x])

    assert together.shape == (7, 5, 2)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-14)


def test_the_model_is_evaluated_without_dropout_in_eval_mode() -> None:
    x, _ = make_batch()
    model = build_model(dropout=0.5).eval()
    with torch.no_grad():
        expected = build_model()(x)
    with ThreadEngine(model, PLAN, MSE) as engine:
        assert relative_error(engine.predict(Windows(x)), expected) <= 1e-12
        model.train()
        assert relative_error(engine.predict(Windows(x)), expected) > 1e-3


def test_dropout_depends_on_the_engines_seed_and_the_step() -> None:
    x, y = make_batch()
    losses = []
    for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0)):
        with ThreadEngine(build_model(dropout=0.5), PLAN, MSE, seed=seed) as engine:
            losses.append(engine.train_step(Windows(x, y), step=step).item())

    assert losses[0] == losses[1]
    assert len(set(losses)) == 3


def test_gradients_appear_only_in_backward(
    engine: ThreadEngine, model: StackModel, batch: tuple[Tensor, Tensor], expected: Result
) -> None:
    loss = engine.train_step(Windows(*batch))

    assert set(gradients_of(model).values()) == {None}
    # Lightning zeroes the gradients here, between the step and backward.
    model.zero_grad()
    loss.backward()

    assert_gradients_are(model, expected)


def test_backward_accumulates_into_grad(
    engine: ThreadEngine, model: StackModel, batch: tuple[Tensor, Tensor], expected: Result
) -> None:
    for _ in range(3):
        engine.train_step(Windows(*batch)).backward()

    assert_gradients_are(model, expected, times=3)


def test_a_scaled_loss_scales_the_gradients(
    engine: ThreadEngine, model: StackModel, batch: tuple[Tensor, Tensor], expected: Result
) -> None:
    (engine.train_step(Windows(*batch)) / 2).backward()

    assert_gradients_are(model, expected, times=0.5)


def test_a_second_derivative_is_refused(
    engine: ThreadEngine, model: StackModel, batch: tuple[Tensor, Tensor]
) -> None:
    loss = engine.train_step(Windows(*batch))

    with pytest.raises(RuntimeError, match="first derivatives only"):
        torch.autograd.grad(loss, list(model.parameters()), create_graph=True)


FROZEN = {
    "encoder": ["encoder."],
    "first stage": ["encoder.", "gru.blocks.0."],
    "middle stage": ["gru.blocks.1.", "gru.blocks.2."],
    "half of a stage": ["gru.blocks.2."],
    "last stage": ["gru.blocks.3.", "head."],
    "all but the encoder": ["gru.", "head."],
    "all but the head": ["encoder.", "gru."],
    "biases": [f"gru.blocks.{block}.parts.0.bias_ih_l0" for block in range(4)],
}


@covering(1, frozen=FROZEN, schedule=["gpipe", "one_f_one_b", "zero_bubble", "naive"])
def test_frozen_parameters_get_no_gradient_and_the_others_theirs(
    schedule: str, frozen: str, batch: tuple[Tensor, Tensor]
) -> None:
    def freeze(model: StackModel) -> StackModel:
        names = [n for n, _ in model.named_parameters() if n.startswith(tuple(FROZEN[frozen]))]
        assert names
        for name in names:
            model.get_parameter(name).requires_grad_(False)
        return model

    expected = run_in_one_piece(freeze(build_model()), *batch)
    model = freeze(build_model())
    with ThreadEngine(model, make_plan([1, 2, 1], schedule, 2, 3), MSE) as engine:
        engine.train_step(Windows(*batch)).backward()

    assert None in expected.gradients.values()
    assert_gradients_are(model, expected)


def test_parameters_can_be_frozen_and_thawed_between_steps(
    engine: ThreadEngine, model: StackModel, batch: tuple[Tensor, Tensor], expected: Result
) -> None:
    model.requires_grad_(False)
    assert not engine.train_step(Windows(*batch)).requires_grad
    model.requires_grad_(True)

    engine.train_step(Windows(*batch)).backward()

    assert_gradients_are(model, expected)


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_equals_the_one_of_the_whole_model(name: str, every_step: bool) -> None:
    def build() -> StackModel:
        torch.manual_seed(0)
        head = StepHead(HIDDEN, 4) if every_step else WindowHead(HIDDEN, (4,))
        stack = GRUStack(N_CHANNELS, HIDDEN, 2)
        # No encoder: the first stage's block reads the windows.
        return StackModel(nn.Identity(), stack, head).double()

    x, _ = make_batch()
    y_shape = (5, 7) if every_step else (5,)
    if name == "cross_entropy":
        y = torch.arange(35 if every_step else 5).view(y_shape) % 4
    else:
        y = 3 * torch.randn(*y_shape, 4, dtype=torch.float64)
    whole, cut = build(), build()
    expected = WholeEngine(whole, LOSSES[name]).train_step(Windows(x, y))
    expected.backward()

    with ThreadEngine(cut, make_plan([1, 1], "gpipe", 2, 3), LOSSES[name]) as engine:
        loss = engine.train_step(Windows(x, y))
        loss.backward()

    assert relative_error(loss, expected) <= 1e-12
    assert_gradients_close(gradients_of(cut), gradients_of(whole), 1e-12)


def test_a_batch_of_which_no_target_is_of_a_class_has_the_loss_0() -> None:
    model, loss = build_model(), LOSSES["cross_entropy"]
    x, y = make_batch()[0], torch.full((5, HORIZON), -100)
    with ThreadEngine(model, make_plan(), loss) as engine:
        for each in (engine, WholeEngine(model, loss)):
            model.zero_grad()
            found = each.train_step(Windows(x, y))
            found.backward()
            assert found == 0
            assert all(w.grad is not None and not w.grad.any() for w in model.parameters())


class SummedEncoder(nn.Module):
    """Its weight is a sum, so autograd has one tensor as the gradient of both terms."""

    stepwise = True

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.full((WIDTH, N_CHANNELS), 0.1))
        self.second = nn.Parameter(torch.full((WIDTH, N_CHANNELS), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.first + self.second)


def test_parameters_that_share_a_gradient_each_get_the_whole_of_it(
    batch: tuple[Tensor, Tensor],
) -> None:
    def build() -> StackModel:
        torch.manual_seed(0)
        head = WindowHead(HIDDEN, (HORIZON, N_TARGETS))
        return StackModel(SummedEncoder(), GRUStack(WIDTH, HIDDEN, 2), head).double()

    expected = run_in_one_piece(build(), *batch)
    model = build()
    with ThreadEngine(model, make_plan([1, 1], "gpipe", 2, 3), MSE) as engine:
        engine.train_step(Windows(*batch)).backward()

    assert_gradients_are(model, expected)


@pytest.mark.parametrize(
    ("broken", "stage"),
    [
        (None, None),
        ("encoder.weight", 0),
        ("gru.blocks.0.parts.0.weight_ih_l0", 0),
        ("gru.blocks.2.parts.0.weight_hh_l0", 1),
        ("gru.blocks.3.parts.0.bias_hh_l0", 2),
        ("head.linear.bias", 2),
    ],
)
def test_the_first_stage_with_outputs_that_are_not_finite_is_found(
    engine: ThreadEngine,
    model: StackModel,
    batch: tuple[Tensor, Tensor],
    broken: str | None,
    stage: int | None,
) -> None:
    if broken is not None:
        with torch.no_grad():
            model.get_parameter(broken).view(-1)[0] = float("nan")

    assert engine.first_nonfinite_stage(Windows(batch[0])) == stage


def test_a_sequence_shorter_than_n_chunks_is_a_usage_error(engine: ThreadEngine) -> None:
    x, y = make_batch(n_steps=2)

    message = r"schedule\.n_chunks=3 exceeds the 2 time steps .*n_chunks <= 2"
    with pytest.raises(UsageError, match=message):
        engine.train_step(Windows(x, y))
    with pytest.raises(UsageError, match=message):
        engine.predict(Windows(x))


def test_a_plan_for_another_number_of_blocks_is_a_usage_error(model: StackModel) -> None:
    with pytest.raises(UsageError, match="plan places 3 blocks, the model has 4"):
        ThreadEngine(model, make_plan([2, 1]), MSE)


def test_training_needs_a_loss(model: StackModel, batch: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ValueError, match="needs a loss"):
        ThreadEngine(model, PLAN).train_step(Windows(*batch))
