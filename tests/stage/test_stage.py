"""A stage on its own, driven cell by cell."""

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.stages import make_stages, modules_of_stages
from gru_parallel.errors import ScheduleError
from gru_parallel.model import StackModel, Windows
from gru_parallel.schedule import Cell, segments_of
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.ends import HeadSection
from gru_parallel.stage.spec import PassSpec, Purpose
from gru_parallel.stage.stage import Stage
from gru_parallel.stage.stage_pass import StagePass
from tests.builders import MSE, build_model, gradients_of, make_batch, make_plan, run_in_one_piece

ORDER = [Cell(m, c) for m in (0, 1) for c in (2, 1, 0)]
"""Backward of two micro-batches of three chunks."""


def make_stage(model: StackModel) -> Stage:
    """The whole model as one stage."""
    plan = make_plan([4])
    (stage,) = make_stages(plan, modules_of_stages(model, plan))
    return stage


def begin(stage: Stage) -> StagePass:
    x, y = make_batch()
    cells = Cells.cut(len(x), x.shape[1], 2, 3)
    spec = PassSpec(Purpose.TRAIN, Windows(x, y), cells, segments_of(3, None), MSE, MSE.count(y))
    return StagePass(stage, spec)


def prediction_of(x: Tensor, n_micro_batches: int, n_chunks: int) -> PassSpec:
    cells = Cells.cut(len(x), x.shape[1], n_micro_batches, n_chunks)
    return PassSpec(Purpose.PREDICT, Windows(x), cells, segments_of(n_chunks, None))


def run_forwards(stage_pass: StagePass) -> HeadSection:
    for cell in sorted(ORDER):
        assert stage_pass.forward(cell, None) == []
    assert isinstance(stage_pass.head, HeadSection)
    return stage_pass.head


def test_all_cells_forward_then_backward_give_loss_and_gradients() -> None:
    model = build_model()
    stage_pass = begin(make_stage(model))

    tail = run_forwards(stage_pass)
    for cell in ORDER:
        assert stage_pass.backward(cell, None) == []

    expected = run_in_one_piece(build_model(), *make_batch())
    torch.testing.assert_close(tail.total, expected.loss, rtol=1e-12, atol=0)
    assert stage_pass.peak_cells == 6
    found = stage_pass.weight_gradients()
    for gradient, wanted in zip(found, expected.gradients.values(), strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-11, atol=1e-14)
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
    stage_pass = begin(make_stage(build_model()))
    run_forwards(stage_pass)
    for cell in ORDER[:done]:
        stage_pass.backward(cell, None)

    with pytest.raises(ScheduleError) as caught:
        stage_pass.backward(wrong, None)

    expected = f"B of cell {wrong} on stage 0 came where B of {ORDER[done]} was due"
    assert expected in str(caught.value)


def test_a_pass_that_never_ended_leaves_nothing_to_the_next() -> None:
    stage = make_stage(build_model())
    broken_off = begin(stage)
    run_forwards(broken_off)
    for cell in ORDER[:4]:
        broken_off.backward(cell, None)

    again = begin(stage)
    tail = run_forwards(again)
    for cell in ORDER:
        again.backward(cell, None)

    fresh = begin(make_stage(build_model()))
    expected = run_forwards(fresh)
    for cell in ORDER:
        fresh.backward(cell, None)
    assert tail.total is not None
    assert expected.total is not None
    assert torch.equal(tail.total, expected.total)
    found = zip(again.weight_gradients(), fresh.weight_gradients(), strict=True)
    for gradient, wanted in found:
        assert gradient is not None
        assert wanted is not None
        assert torch.equal(gradient, wanted)


def test_without_gradients_nothing_is_kept() -> None:
    x, _ = make_batch()
    stage_pass = StagePass(make_stage(build_model()), prediction_of(x, 2, 3))

    with torch.no_grad():
        tail = run_forwards(stage_pass)

    assert stage_pass.peak_cells == 0
    assert tail.total is None
    # A head that reads the last step only predicts in the last chunk.
    assert sorted(tail.predictions) == [(0, 2), (1, 2)]


def test_a_stage_that_is_not_the_first_cannot_run_without_inputs() -> None:
    plan = make_plan([2, 2])
    stage = make_stages(plan, modules_of_stages(build_model(), plan))[1]
    x, _ = make_batch()

    with pytest.raises(ScheduleError, match="stage 1 has received no input"):
        StagePass(stage, prediction_of(x, 1, 1)).forward(Cell(0, 0), None)
