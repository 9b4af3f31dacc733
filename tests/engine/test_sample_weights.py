"""How much each row and step counts: the same in a pipeline as in a formula."""

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ShapeError
from gru_parallel.model import StackModel, Windows
from tests.builders import (
    MSE,
    assert_gradients_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
    relative_error,
)
from tests.forecasters import build_forecaster, make_windows

pytestmark = pytest.mark.usefixtures("little_to_collect")

LENGTHS = torch.tensor([7, 3, 6, 7, 2])


def make_case(name: str) -> tuple[StackModel, Windows]:
    """Make a model, and windows whose rows and steps count 0, 1 or more."""
    generator = torch.Generator().manual_seed(3)
    if name == "a decoder over channels":
        model = build_forecaster()
        x, y = make_windows(3)
    else:
        every_step = name == "short windows"
        model = build_model(every_step=every_step)
        x, y = make_batch(every_step=every_step)
    weight = 3 * torch.rand(y.shape[:2], generator=generator)
    weight[1] = 0.0
    return model, Windows(x, y, LENGTHS if name == "short windows" else None, weight=weight)


def expected_loss(model: StackModel, windows: Windows) -> Tensor:
    assert windows.y is not None
    assert windows.weight is not None
    errors = (model(windows.x, lengths=windows.lengths) - windows.y).square()
    runs = torch.ones(errors.shape[:2])
    if windows.lengths is not None:
        runs = (torch.arange(errors.shape[1]) < windows.lengths[:, None]).double()
    weighted = errors * (windows.weight * runs).unsqueeze(2)
    return weighted.sum() / (runs.sum() * errors.shape[2])


@pytest.mark.parametrize("name", ["one head", "short windows", "a decoder over channels"])
def test_a_weighted_loss_and_its_gradients_are_those_of_the_formula(name: str) -> None:
    plain, windows = make_case(name)
    expected = expected_loss(plain, windows)
    expected.backward()

    whole, cut = make_case(name)[0], make_case(name)[0]
    loss = WholeEngine(whole, MSE).train_step(windows)
    loss.backward()
    with ThreadEngine(cut, make_plan([1, 3], "zero_bubble", 2, 3), MSE) as engine:
        found = engine.train_step(windows)
        found.backward()

    for each, model in ((loss, whole), (found, cut)):
        assert relative_error(each, expected) <= 1e-12
        assert_gradients_close(gradients_of(model), gradients_of(plain), 1e-12)


def test_replayed_steps_have_the_weights_of_their_own_batch() -> None:
    losses = []
    for graphs in (False, True):
        model = build_model(dtype=torch.float32)
        with ThreadEngine(model, make_plan([2, 2], "gpipe", 2, 2), MSE, graphs=graphs) as engine:
            of_steps = []
            for step in range(5):
                x, y = make_batch(dtype=torch.float32, seed=step)
                weight = torch.full(y.shape[:2], float(step))
                loss = engine.train_step(Windows(x, y, weight=weight), step)
                loss.backward()
                of_steps.append(loss.detach())
            assert graphs == (engine.why_not_replayed is None)
        losses.append(torch.stack(of_steps))

    assert torch.equal(*losses)
    assert losses[0][0] == 0


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 1, 2), (5, 5, 2)])
def test_weights_of_rows_and_of_values_are_those_of_the_formula(shape: tuple[int, ...]) -> None:
    model, (x, y) = build_model(), make_batch()
    weight = torch.rand(shape, dtype=torch.float64)
    whole = weight.reshape(*shape, *[1] * (3 - len(shape)))
    expected = ((model(x) - y).square() * whole).sum() / y.numel()

    with ThreadEngine(model, make_plan(), MSE) as engine:
        found = engine.train_step(Windows(x, y, weight=weight))

    assert relative_error(found, expected) <= 1e-12
    whole_engine = WholeEngine(model, MSE)
    assert relative_error(whole_engine.train_step(Windows(x, y, weight=weight)), expected) <= 1e-12


@pytest.mark.parametrize(
    ("every_step", "shape"),
    [
        *((False, shape) for shape in ((4, 5), (6, 5), (1, 5), (1,), (5, 4), (5, 5, 2, 1), ())),
        *((True, shape) for shape in ((5,), (5, 1), (5, 6), (4, 7))),
    ],
)
def test_a_weight_that_does_not_fit_the_targets_is_refused(
    every_step: bool, shape: tuple[int, ...]
) -> None:
    model = build_model(every_step=every_step)
    x, y = make_batch(every_step=every_step)
    windows = Windows(x, y, weight=torch.ones(shape, dtype=torch.float64))
    with ThreadEngine(model, make_plan(), MSE) as cut:
        for engine in (cut, WholeEngine(model, MSE)):
            with pytest.raises(ShapeError, match=r"weight of shape .* does not fit targets"):
                engine.train_step(windows)
            engine.predict(Windows(x, weight=windows.weight))
