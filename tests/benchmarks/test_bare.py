import pytest
import torch
from torch import nn

from benchmarks.bare import BareCells, merged_order
from benchmarks.shapes import Shape
from benchmarks.variants import Pipeline
from gru_parallel.engine.engine import WholeEngine
from gru_parallel.model import LOSSES, GRUStack, StackModel, WindowHead, Windows
from gru_parallel.schedule import Action
from tests.benchmarks.rounds import SHAPE


@pytest.mark.parametrize("schedule", ["gpipe", "zero_bubble"])
def test_bare_cells_give_the_gradients_of_plain_training(schedule: str) -> None:
    torch.manual_seed(0)
    shape = Shape(hidden_size=5, batch_size=4, n_steps=7, num_layers=3)
    stack = GRUStack(5, 5, 3, dtype=torch.float64)
    model = StackModel(nn.Identity(), stack, WindowHead(5, (1,)).double())
    x = torch.randn(4, 7, 5, dtype=torch.float64)
    y = torch.randn(4, 1, dtype=torch.float64)

    plan = Pipeline(n_micro_batches=2, n_chunks=3, schedule=schedule).plan(shape)
    loss, gradients = BareCells(model, plan, LOSSES["mse"]).step(x, y)

    expected = WholeEngine(model, LOSSES["mse"]).train_step(Windows(x, y))
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), rtol=0, atol=1e-12)
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=1e-12)


def test_the_merged_order_is_that_of_a_pipeline_with_each_stage_in_its_own_order() -> None:
    order = merged_order(Pipeline(n_micro_batches=1, n_chunks=2).plan(SHAPE))
    assert order[0] == Action.parse("0F0.0")
    assert order[-1] == Action.parse("0B0.0")
    own = [" ".join(str(action) for action in order if action.stage == stage) for stage in (0, 1)]
    assert own == ["0F0.0 0F0.1 0B0.1 0B0.0", "1F0.0 1F0.1 1B0.1 1B0.0"]
