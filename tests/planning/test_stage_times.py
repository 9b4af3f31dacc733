"""What stages take, from what blocks take: barriers, ends, and what is around cells."""

from typing import Any

import pytest

from gru_parallel.placement import Device, ModelSpec, cut_stack
from gru_parallel.planning import Workload
from gru_parallel.planning.cell_costs import CellTimes, LayerKind
from gru_parallel.planning.stage_times import CellSize, block_times, layer_kinds, stage_of
from tests.affine_costs import AffineCosts

CPU = Device("cpu:0", "cpu")
SIZE = CellSize(rows=4, steps=3, n_chunks=5)


def times_of(costs: AffineCosts, n_layers: int = 3, size: CellSize = SIZE, **options: Any) -> Any:
    names = ("n_channels", "n_outputs", "every_step", "n_decoding")
    model = {name: options.pop(name) for name in names if name in options}
    spec = ModelSpec(cut_stack(2, 2, n_layers, **options), **model)
    return block_times(spec, "auto", costs, CPU, size, n_busy=1)


def forward(of: CellTimes) -> float:
    return of.forward_ms


def test_a_block_takes_what_its_layers_take() -> None:
    one, two = times_of(AffineCosts(1.0, 0.5)), times_of(AffineCosts(1.0, 0.5), layers_per_block=2)

    assert [forward(block.cell) for block in one] == [12.5, 12.5, 12.5]
    assert [forward(block.cell) for block in two] == [25.0, 12.5]


def test_encoder_and_head_count_to_the_blocks_beside_them() -> None:
    costs = AffineCosts(1.0, ends_ms=0.25)
    at_end = times_of(costs, n_channels=7, n_outputs=1)
    every = times_of(costs, n_channels=7, n_outputs=1, every_step=True)

    assert [forward(b.cell) for b in at_end] == [15.0, 12.0, 12.0]
    assert forward(at_end[-1].last) == 1.0
    assert [forward(b.cell) for b in every] == [15.0, 12.0, 15.0]
    assert forward(every[-1].last) == 0.0


def test_steps_after_the_window_count_to_the_last_cell() -> None:
    costs = AffineCosts(1.0, 0.5, ends_ms=0.25)
    first, middle, last = times_of(costs, n_channels=7, n_outputs=1, n_decoding=6)

    assert forward(middle.cell) == 12.5
    # 6 steps of 4 rows, as the rows of one; with the encoder's steps, or what the head reads.
    assert [forward(block.last) for block in (first, middle, last)] == [30.5, 24.5, 30.5]


def test_a_stage_adds_up_its_blocks_and_what_is_around_a_cell() -> None:
    blocks = times_of(AffineCosts(1.0, ends_ms=0.25), n_outputs=1)

    stage = stage_of(blocks, CellTimes(0.5, 0.5, 0.5, 1.0))

    assert forward(stage.cell) == 36.5
    assert forward(stage.last) == 1.0
    assert forward(stage.at_once) == 0.0


def test_a_bidirectional_block_takes_its_whole_window_at_once() -> None:
    first, both, last = times_of(AffineCosts(1.0, 0.5), bidirectional=[False, True, False])

    assert both.is_barrier
    # Two directions of 5 chunks of 4 rows and 3 steps, in one cell.
    assert forward(both.whole) == 2 * (0.5 + 60)
    stage = stage_of([first, both, last])
    # F: the first block cell by cell, all else when its last chunk has come; B the other way round.
    assert forward(stage.cell) == forward(first.cell)
    assert forward(stage.at_once) == forward(both.whole) + forward(last.whole)
    assert stage.cell.joint_ms == last.cell.joint_ms
    assert stage.at_once.joint_ms == both.whole.joint_ms + first.whole.joint_ms


def test_a_block_that_waits_for_the_state_before_it_runs_its_cells_at_once() -> None:
    blocks = times_of(AffineCosts(1.0, 0.5), h_0=["zeros", "previous", "zeros"])

    assert [block.is_barrier for block in blocks] == [False, True, False]
    assert forward(blocks[1].whole) == 5 * 12.5


def test_cells_have_the_mean_size_and_micro_batches_at_least_one_row() -> None:
    work = Workload(ModelSpec(cut_stack(2, 2, 2)), n_rows=10, n_steps=7)

    assert CellSize.of(work, 4, 2, 1) == CellSize(2.5, 3.5, 2)
    assert CellSize.of(work, 4, 2, 3) == CellSize(1.0, 3.5, 2)
    assert CellSize.of(work, 16, 1, 1) == CellSize(1.0, 7.0, 1)


def test_layers_of_one_form_are_of_one_kind() -> None:
    spec = ModelSpec(cut_stack(5, 3, 4, bidirectional=[False, True, False, False]))

    assert layer_kinds(spec, "lean") == [
        LayerKind(5, 3, False, "lean"),
        LayerKind(3, 3, True, "lean"),
        LayerKind(6, 3, False, "lean"),
        LayerKind(3, 3, False, "lean"),
    ]


def test_fewer_rows_do_not_take_less_than_their_cells() -> None:
    (many,) = times_of(AffineCosts(0.0, 1.0), 1, CellSize(1, 1, 16))

    assert forward(many.whole) == pytest.approx(16.0)
