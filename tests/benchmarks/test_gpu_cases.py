from dataclasses import replace

import pytest

from benchmarks.gpu.cases import FULL, QUICK, Case, Precision, Way, cases
from tests.benchmarks.gpu_numbers import EAGER, GRAPH, IN_8, IN_16, STAGE, TARGET, TF32, UNCUT

FOUR_GPUS = ("cuda:0", "cuda:1", "cuda:2", "cuda:3")


def test_what_the_targets_need_comes_first_and_each_case_once() -> None:
    listed = cases(FULL, 1)
    n_of_targets = 4 * 6 + 2

    assert {EAGER, GRAPH, UNCUT, IN_8, IN_16, STAGE} <= set(listed[:n_of_targets])
    assert {case.shape for case in listed[:n_of_targets]} == set(FULL.targets)
    assert len(set(listed)) == len(listed)


def test_every_shape_and_type_of_the_sweep_is_compared_with_nn_gru() -> None:
    shapes = {
        (case.shape.hidden_size, case.shape.num_layers, case.shape.n_steps, case.precision)
        for case in cases(FULL, 1)
        if case.way is Way.NN_GRU
    }

    assert shapes == {
        (hidden, layers, steps, precision)
        for hidden in (128, 256, 512, 1024, 2048)
        for layers in (4, 8)
        for steps in (512, 4096)
        for precision in (Precision.TF32, Precision.BFLOAT16)
    }


def test_a_gpu_for_each_stage_and_the_peer_wait_for_as_many_gpus() -> None:
    several = {case.n_gpus for case in cases(FULL, 1)}
    assert several == {1}
    assert not any(case.way is Way.PEER for case in cases(FULL, 1))

    assert {case.n_gpus for case in cases(FULL, 4)} == {1, 2, 4}
    assert {case.n_stages for case in cases(FULL, 8) if case.way is Way.PEER} == {2, 4, 8}


def test_rows_of_one_table_have_names_of_their_own() -> None:
    for sweep in (FULL, QUICK):
        rows = [(case.shape, case.precision.of_nn_gru, case.name) for case in cases(sweep, 8)]
        assert len(set(rows)) == len(rows)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (FOUR_GPUS[:1], ("cuda:0",) * 4),
        (FOUR_GPUS[:2], ("cuda:0", "cuda:0", "cuda:1", "cuda:1")),
        (FOUR_GPUS, FOUR_GPUS),
    ],
)
def test_stages_share_the_gpus_in_order(
    devices: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    plan = Case(Way.GRAPHS, TARGET, TF32, 4, 16).plan(devices)

    assert plan.devices == expected
    assert [stage.n_blocks for stage in plan.stages] == [2, 2, 2, 2]


def test_a_case_fits_a_shape_with_a_layer_for_each_stage_and_a_step_for_each_chunk() -> None:
    assert IN_16.fits
    assert not replace(IN_16, n_stages=9).fits
    assert not replace(IN_16, n_chunks=513).fits
    assert not replace(IN_16, n_micro_batches=3).fits
