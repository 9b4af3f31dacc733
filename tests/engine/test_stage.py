"""A stage on its own, driven cell by cell."""

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.cells import Cells
from gru_parallel.engine.lane import make_lane
from gru_parallel.engine.stage import Batch, Stage, StageModules
from gru_parallel.errors import ScheduleError
from gru_parallel.model import StackModel
from tests.builders import MSE, build_model, gradients_of, make_batch, run_in_one_piece

ORDER = [(0, 2), (0, 1), (0, 0), (1, 2), (1, 1), (1, 0)]
"""Backward of two micro-batches of three chunks."""


def make_stage(model: StackModel) -> Stage:
    """The whole model as one stage."""
    modules = StageModules(model.encoder, model.gru.gru_blocks, model.head)
    return Stage(0, "cpu:0", modules, make_lane(torch.device("cpu")))


def begin(stage: Stage) -> tuple[Tensor, Tensor]:
    x, y = make_batch()
    stage.begin(Batch(Cells.cut(len(x), x.shape[1], 2, 3), x, y, MSE))
    return x, y


def run_forwards(stage: Stage) -> None:
    for cell in sorted(ORDER):
        assert stage.forward(cell, None) is None


def test_all_cells_forward_then_backward_give_loss_and_gradients() -> None:
    model = build_model()
    stage = make_stage(model)
    x, y = begin(stage)

    run_forwards(stage)
    for cell in ORDER:
        assert stage.backward(cell, None) is None
    result = stage.end()

    expected = run_in_one_piece(build_model(), x, y)
    torch.testing.assert_close(result.loss, expected.loss, rtol=1e-12, atol=0)
    assert result.peak_cells == 6
    for found, wanted in zip(result.gradients, expected.gradients.values(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-14)
    assert set(gradients_of(model).values()) == {None}


@pytest.mark.parametrize(
    ("done", "wrong"),
    [
        pytest.param(0, (0, 0), id="chunks ascending"),
        pytest.param(0, (1, 2), id="second micro-batch first"),
        pytest.param(1, (0, 0), id="chunk left out"),
        pytest.param(1, (0, 2), id="cell done before"),
        pytest.param(3, (1, 0), id="second micro-batch's chunks ascending"),
    ],
)
def test_a_backward_out_of_order_is_an_error_that_says_what_was_due(
    done: int, wrong: tuple[int, int]
) -> None:
    stage = make_stage(build_model())
    begin(stage)
    run_forwards(stage)
    for cell in ORDER[:done]:
        stage.backward(cell, None)

    with pytest.raises(ScheduleError) as caught:
        stage.backward(wrong, None)

    expected = f"B of cell {wrong} on stage 0 came where B of {ORDER[done]} was due"
    assert expected in str(caught.value)


def test_a_step_that_never_ended_leaves_nothing_to_the_next() -> None:
    stage = make_stage(build_model())
    begin(stage)
    run_forwards(stage)
    for cell in ORDER[:4]:
        stage.backward(cell, None)

    begin(stage)
    run_forwards(stage)
    for cell in ORDER:
        stage.backward(cell, None)
    result = stage.end()

    fresh = make_stage(build_model())
    begin(fresh)
    run_forwards(fresh)
    for cell in ORDER:
        fresh.backward(cell, None)
    expected = fresh.end()
    assert result.loss is not None
    assert expected.loss is not None
    assert torch.equal(result.loss, expected.loss)
    for found, wanted in zip(result.gradients, expected.gradients, strict=True):
        assert found is not None
        assert wanted is not None
        assert torch.equal(found, wanted)


def test_without_gradients_nothing_is_kept() -> None:
    stage = make_stage(build_model())
    x, _ = begin(stage)
    stage.begin(Batch(Cells.cut(len(x), x.shape[1], 2, 3), x))

    with torch.no_grad():
        run_forwards(stage)

    result = stage.end()
    assert result.peak_cells == 0
    assert result.loss is None
    # A head that reads the last step only predicts in the last chunk.
    assert sorted(result.predictions) == [(0, 2), (1, 2)]
