"""Heads: shapes, and which outputs they read."""

import pytest
import torch

from gru_parallel.choices import HEAD_TASKS
from gru_parallel.config.overrides import compose_config
from gru_parallel.config.read_config import read_config
from gru_parallel.model import StepHead, WindowHead
from gru_parallel.model.head import HEADS


@pytest.mark.parametrize("output_shape", [(5, 2), (10,), (1, 1)])
def test_a_window_head_gives_one_prediction_a_window(output_shape: tuple[int, ...]) -> None:
    assert WindowHead(6, output_shape)(torch.randn(7, 3, 6)).shape == (3, *output_shape)


def test_a_window_head_reads_the_last_step_only() -> None:
    head = WindowHead(6, (5, 2))
    y = torch.randn(7, 3, 6)

    prediction = head(y)

    assert torch.equal(prediction, head(y[-1:]))
    assert torch.equal(prediction.flatten(1), head.linear(y[-1]))


def test_a_step_head_gives_a_prediction_a_step_batch_first() -> None:
    head = StepHead(6, 4)
    y = torch.randn(7, 3, 6)

    prediction = head(y)

    assert prediction.shape == (3, 7, 4)
    torch.testing.assert_close(prediction[1, 2], head.linear(y[2, 1]))


def test_heads_say_whether_they_predict_every_step() -> None:
    assert StepHead(6, 4).every_step
    assert not WindowHead(6, (4,)).every_step


@pytest.mark.parametrize("name", HEADS)
def test_every_head_forecasts_all_targets(name: str) -> None:
    head = HEADS[name].for_forecast(6, horizon=5, n_targets=2)

    shape = (3, 7, 2) if head.every_step else (3, 5, 2)
    assert head(torch.randn(7, 3, 6)).shape == shape


@pytest.mark.parametrize("name", HEADS)
def test_every_head_is_a_setting_that_says_its_task(name: str) -> None:
    assert HEAD_TASKS[name] == ("every_step" if HEADS[name].every_step else "window")
    assert read_config(compose_config([f"model.head={name}"])).model.head == name
