"""Predictions are multiplied by the scale of their windows before they are compared."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.engine import graphs
from gru_parallel.engine.engine import WholeEngine
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ShapeError
from gru_parallel.model import LOSSES, StackModel, Windows
from tests.builders import (
    N_TARGETS,
    Result,
    assert_close,
    build_model,
    gradients_of,
    make_batch,
    make_plan,
)

pytestmark = pytest.mark.usefixtures("no_thread_left")

X, Y = make_batch()
SCALE = torch.linspace(0.2, 3.0, 5 * N_TARGETS, dtype=torch.float64).reshape(5, 1, N_TARGETS)
MEANS = {
    "mse": nn.functional.mse_loss,
    "mae": nn.functional.l1_loss,
    "huber": nn.functional.huber_loss,
}


def in_plain_pytorch(model: StackModel, loss: str) -> Result:
    prediction = model(X) * SCALE
    found = MEANS[loss](prediction, Y)
    found.backward()
    return Result(found.detach(), prediction.detach(), gradients_of(model))


def run(engine: ThreadEngine | WholeEngine) -> Result:
    prediction = engine.predict(Windows(X, scale=SCALE))
    loss = engine.train_step(Windows(X, Y, scale=SCALE))
    loss.backward()
    return Result(loss.detach(), prediction, gradients_of(engine.model))


@pytest.mark.parametrize(
    ("loss", "plan"),
    [
        ("mse", {"n_micro_batches": 2, "n_chunks": 3}),
        ("mae", {"schedule": "gpipe", "n_micro_batches": 5}),
        ("huber", {"schedule": "zero_bubble", "n_chunks": 2, "recompute": "cell"}),
    ],
)
def test_the_loss_is_that_of_scaled_predictions(loss: str, plan: dict[str, Any]) -> None:
    expected = in_plain_pytorch(build_model(), loss)

    with ThreadEngine(build_model(), make_plan(**plan), LOSSES[loss]) as engine:
        assert_close(run(engine), expected, 1e-12)
    assert_close(run(WholeEngine(build_model(), LOSSES[loss])), expected, 1e-12)


def test_a_scale_is_renewed_where_calls_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "N_EAGER", 1)

    def losses(*, replays: bool) -> list[Tensor]:
        with ThreadEngine(build_model(), make_plan(), LOSSES["mse"], graphs=replays) as engine:
            found = [
                engine.train_step(Windows(X, Y, scale=SCALE * (step + 1)), step).detach()
                for step in range(4)
            ]
            assert (engine.why_not_replayed is None) == replays
            # Another call, with no scale, is of another kind.
            return [*found, engine.train_step(Windows(X, Y), 4).detach()]

    eager, replayed = losses(replays=False), losses(replays=True)

    assert all(map(torch.equal, eager, replayed))
    assert len(set(map(float, eager))) == 5


@pytest.mark.parametrize("shape", [(4, 1, 2), (6, 1, 2), (1, 1, 2), (5, 2), (5, 1, 3), (5,)])
def test_a_scale_that_does_not_fit_the_batch_is_refused(shape: tuple[int, ...]) -> None:
    model, loss = build_model(), LOSSES["mse"]
    windows = Windows(X, Y, scale=torch.ones(shape, dtype=torch.float64))
    with ThreadEngine(model, make_plan(), loss) as cut:
        for engine in (cut, WholeEngine(model, loss)):
            for call in (engine.predict, engine.train_step):
                with pytest.raises(ShapeError, match=r"scale of shape .* give .* \(5, 1, 2\)"):
                    call(windows)


def test_a_scale_of_each_step_is_refused_where_steps_are_cut() -> None:
    scale = torch.ones(*X.shape[:2], N_TARGETS, dtype=torch.float64)
    with (
        ThreadEngine(build_model(every_step=True), make_plan(), LOSSES["mse"]) as engine,
        pytest.raises(ShapeError, match=r"give .* \(5, 1, 2\)"),
    ):
        engine.predict(Windows(X, scale=scale))
