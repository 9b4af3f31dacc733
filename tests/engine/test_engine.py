"""The whole model in one piece, as an engine."""

import torch

from gru_parallel.engine.engine import WholeEngine
from gru_parallel.model import Windows
from tests.builders import MSE, build_model, gradients_of, make_batch, run_in_one_piece


def test_the_whole_engine_is_plain_training() -> None:
    x, y = make_batch()
    expected = run_in_one_piece(build_model(), x, y)
    model = build_model()
    engine = WholeEngine(model, MSE)

    loss = engine.train_step(Windows(x, y))
    loss.backward()

    assert torch.allclose(loss, expected.loss, rtol=1e-14)
    for name, gradient in gradients_of(model).items():
        torch.testing.assert_close(gradient, expected.gradients[name], rtol=1e-12, atol=1e-14)
    assert torch.equal(engine.predict(Windows(x)), expected.predictions)


def test_predictions_have_no_history() -> None:
    x, _ = make_batch()

    assert not WholeEngine(build_model(), MSE).predict(Windows(x)).requires_grad


def test_dropout_depends_on_seed_and_step() -> None:
    x, y = make_batch()
    model = build_model(dropout=0.5)
    losses = [
        WholeEngine(model, MSE, seed=seed).train_step(Windows(x, y), step=step).item()
        for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]

    assert losses[0] == losses[1]
    assert len(set(losses)) == 3
