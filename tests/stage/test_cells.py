"""How a batch is cut: no cell is empty, none is forgotten, and sizes differ by one at most."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.errors import UsageError
from gru_parallel.schedule import Cell
from gru_parallel.stage.cells import Cells, split_sizes
from gru_parallel.stage.ends import index_of


@given(st.integers(1, 40), st.integers(1, 40))
def test_sizes_add_up_and_differ_by_one_at_most_the_larger_first(total: int, n_parts: int) -> None:
    sizes = split_sizes(total, n_parts)

    assert sum(sizes) == total
    assert len(sizes) == n_parts
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 15), st.data())
def test_cells_hold_every_row_and_step_once_and_none_is_empty(
    batch_size: int, n_steps: int, n_micro_batches: int, data: st.DataObject
) -> None:
    n_chunks = data.draw(st.integers(1, n_steps))
    cells = Cells.cut(batch_size, n_steps, n_micro_batches, n_chunks)
    seen = torch.zeros(batch_size, n_steps, 1)

    for micro_batch in range(cells.n_micro_batches):
        for chunk in range(cells.n_chunks):
            rows, steps = cells.index_of(Cell(micro_batch, chunk))
            assert isinstance(rows, slice)
            assert rows.stop > rows.start
            assert steps.stop > steps.start
            seen[rows, steps] += 1

    assert (seen == 1).all()
    assert cells.n_micro_batches == min(n_micro_batches, batch_size)
    assert cells.n_chunks == n_chunks


def test_ragged_pieces_are_as_even_as_they_can_be() -> None:
    cells = Cells.cut(batch_size=5, n_steps=7, n_micro_batches=2, n_chunks=3)

    assert cells.rows == (slice(0, 3), slice(3, 5))
    assert cells.steps == ((slice(0, 3), slice(3, 5), slice(5, 7)),) * 2


def test_a_cell_of_x_comes_time_first_and_contiguous() -> None:
    x = torch.arange(5 * 7 * 3).view(5, 7, 3)

    cell = Cells.cut(5, 7, 2, 3).inputs(x, Cell(1, 1))

    assert cell.shape == (2, 2, 3)
    assert cell.is_contiguous()
    assert torch.equal(cell.transpose(0, 1), x[3:5, 3:5])


def test_targets_are_cut_in_time_only_where_there_is_one_a_step() -> None:
    y = torch.arange(5 * 7 * 2).view(5, 7, 2)
    cells = Cells.cut(5, 7, 2, 3)

    assert torch.equal(y[index_of(cells, Cell(1, 2), every_step=True)], y[3:5, 5:7])
    assert torch.equal(y[index_of(cells, Cell(1, 2), every_step=False)], y[3:5])


def test_more_chunks_than_steps_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(UsageError) as caught:
        Cells.cut(5, n_steps=7, n_micro_batches=1, n_chunks=8)

    assert str(caught.value) == (
        "schedule.n_chunks=8 exceeds the 7 time steps of the sequence; use schedule.n_chunks <= 7."
    )


def test_an_empty_batch_is_an_error() -> None:
    with pytest.raises(UsageError, match="batch of 0 windows"):
        Cells.cut(0, n_steps=7, n_micro_batches=1, n_chunks=1)
