"""What B leaves to W: kept by cell, and done when it is the cell's turn."""

from functools import partial

import pytest
import torch

from gru_parallel.errors import ScheduleError
from gru_parallel.model import Windows
from gru_parallel.schedule import Cell, segments_of
from gru_parallel.stage.cells import Cells
from gru_parallel.stage.gradients import SectionGradients
from gru_parallel.stage.spec import PassSpec, Purpose


def make(*, separates: bool = True, truncate: int | None = None) -> SectionGradients:
    spec = PassSpec(
        Purpose.TRAIN,
        Windows(torch.zeros(2, 4, 1)),
        Cells.cut(2, 4, 2, 4),
        segments_of(4, truncate),
        separates_weights=separates,
    )
    return SectionGradients([torch.zeros(1, requires_grad=True)], spec)


def leave(gradients: SectionGradients, done: list[Cell], *cells: tuple[int, int]) -> None:
    for cell in cells:
        gradients.leave(Cell(*cell), partial(done.append, Cell(*cell)))


def test_where_w_is_not_separate_work_is_done_at_once() -> None:
    done: list[Cell] = []
    gradients = make(separates=False)

    leave(gradients, done, (0, 3), (0, 2))

    assert done == [(0, 3), (0, 2)]
    assert gradients.of_weights() == [None]


def test_w_does_the_work_of_its_cell_and_leaves_that_of_later_ones() -> None:
    done: list[Cell] = []
    gradients = make()
    leave(gradients, done, (0, 1), (0, 1), (0, 0), (1, 3))

    gradients.work_out(Cell(0, 1))
    assert done == [(0, 1), (0, 1)]
    gradients.work_out(Cell(0, 0))
    assert done == [(0, 1), (0, 1), (0, 0)]
    gradients.work_out(Cell(1, 3))
    assert done == [(0, 1), (0, 1), (0, 0), (1, 3)]


def test_the_last_w_of_a_micro_batch_does_what_came_too_late_for_the_others() -> None:
    done: list[Cell] = []
    gradients = make()
    for chunk in (3, 2, 1):
        gradients.work_out(Cell(0, chunk))
    leave(gradients, done, (0, 3), (0, 2), (0, 1), (0, 0))

    gradients.work_out(Cell(0, 0))

    assert done == [(0, 3), (0, 2), (0, 1), (0, 0)]


def test_a_segment_comes_after_the_whole_of_the_one_before() -> None:
    done: list[Cell] = []
    gradients = make(truncate=2)
    leave(gradients, done, (0, 1), (0, 0), (0, 3))

    gradients.work_out(Cell(0, 1))
    assert done == [(0, 1)]
    gradients.work_out(Cell(0, 0))
    assert done == [(0, 1), (0, 0)]
    gradients.work_out(Cell(0, 3))
    assert done == [(0, 1), (0, 0), (0, 3)]


def test_work_that_was_never_done_is_an_error_until_it_is_forgotten() -> None:
    gradients = make()
    leave(gradients, [], (1, 2))

    with pytest.raises(ScheduleError, match=r"lack the cells \(1, 2\): each B left work, and no W"):
        gradients.of_weights()
    gradients.forget()
    assert gradients.of_weights() == [None]
