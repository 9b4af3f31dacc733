"""What a plan should come to: its costs, its times, its memory, and what barriers in time cost."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Device, Grid, LayerCost, Plan, StagePlan, gru_layer_cost
from gru_parallel.planning import (
    Planned,
    check_reverse_devices,
    check_weights_can_wait,
    plan_from_device_map,
)

CPUS = [f"cpu:{index}" for index in range(8)]
CLUSTER = Cluster(tuple(Device(name, 1e6) for name in CPUS))
WORK = LayerCost(1e6, 2e6, n_parameters=1, activation_bytes=800)


def layer(*, both_ways: bool = False, previous: bool = False) -> LayerCost:
    return gru_layer_cost(4, 4, 8, 2, bidirectional=both_ways, is_barrier=previous)


def plan(devices: Sequence[str], **options: Any) -> Plan:
    return plan_from_device_map(devices, CPUS, num_layers=len(devices), grid=Grid(**options))


def planned(devices: Sequence[str], costs: Sequence[LayerCost], **options: Any) -> Planned:
    return Planned(plan(devices, **options), costs, CLUSTER)


def test_stage_costs_add_up_the_blocks_of_each_stage() -> None:
    one, other = replace(WORK, n_parameters=5), replace(WORK, n_parameters=7)

    assert planned(["cpu:0", "cpu:1", "cpu:1"], [WORK, one, other]).stage_costs == (
        WORK,
        one + other,
    )


def test_costs_that_are_not_one_per_block_are_refused() -> None:
    with pytest.raises(ValueError, match="2 costs do not fit the plan's 3 blocks"):
        planned(["cpu:0"] * 3, [WORK] * 2)


def test_stage_times_follow_each_devices_speed() -> None:
    stages = (StagePlan("cuda:0", 0, 1), StagePlan("cpu:0", 1, 2))
    devices = Cluster((Device("cpu:0", 1e9), Device("cuda:0", 4e9)))

    on_gpu, on_cpu = Planned(Plan(3, Grid(), stages), [WORK] * 3, devices).stage_times_ms

    assert on_gpu == pytest.approx((0.25, 0.5))
    assert on_cpu == pytest.approx((2.0, 4.0))


def test_a_device_that_carries_two_stages_has_a_time_for_each() -> None:
    stages = (StagePlan("cpu:0", 0, 1), StagePlan("cpu:0", 1, 1))

    first, second = Planned(Plan(2, Grid(), stages), [WORK] * 2, CLUSTER).stage_times_ms

    assert first == second == pytest.approx((1e3, 2e3))


def test_a_device_that_the_cluster_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="no device 'cpu:1'"):
        Planned(plan(["cpu:0", "cpu:1"]), [WORK] * 2, Cluster.of(["cpu:0"]))


def test_devices_without_a_stage_idle() -> None:
    assert planned(["cpu:0", "cpu:1+cpu:2"], [WORK, WORK]).idle_devices == tuple(CPUS[3:])


@pytest.mark.parametrize(
    ("options", "kept_cells_of_16"),
    [
        ({"schedule": "gpipe"}, (16, 16)),
        ({"schedule": "one_f_one_b"}, (8, 4)),
        ({"schedule": "zero_bubble"}, (8, 5)),
        ({"schedule": "naive"}, (4, 4)),
        ({"schedule": "one_f_one_b", "truncate": 1}, (2, 1)),
    ],
)
def test_a_stage_needs_memory_for_the_cells_that_its_schedule_keeps(
    options: dict[str, int], kept_cells_of_16: tuple[int, int]
) -> None:
    found = planned(["cpu:0", "cpu:1"], [WORK] * 2, n_micro_batches=4, n_chunks=4, **options)

    assert found.stage_memory_bytes == tuple(16 + 50 * n_cells for n_cells in kept_cells_of_16)


def test_what_waits_for_w_is_counted_where_w_waits() -> None:
    lean = gru_layer_cost(4, 4, 8, 2, core="lean")
    sizes = {"n_micro_batches": 1, "n_chunks": 4}

    def kept(schedule: str) -> tuple[int, ...]:
        found = planned(["cpu:0", "cpu:1"], [lean] * 2, schedule=schedule, **sizes)
        return found.stage_activation_bytes

    # Four cells, each with the state that enters it; W comes after B of all.
    all_cells = lean.activation_bytes + 4 * lean.start_bytes
    assert kept("gpipe") == (all_cells, all_cells)
    assert kept("zero_bubble") == (all_cells + lean.waiting_bytes,) * 2


def test_with_recompute_a_stage_keeps_inputs_and_states_and_the_activations_of_one_cell() -> None:
    # Of a batch of 2 rows and 8 steps in 4 chunks; one number has 4 bytes.
    one_layer, inputs, state = 4 * 8 * (2 * 8 * 4), 4 * (2 * 8 * 4), 4 * (2 * 4)
    grid = {"schedule": "gpipe", "n_chunks": 4, "recompute": "cell"}

    found = planned(["cpu:0", "cpu:0", "cpu:1"], [layer()] * 3, **grid)

    assert found.stage_activation_bytes == (
        inputs + 4 * 2 * state + 2 * one_layer // 4,
        inputs + 4 * state + one_layer // 4,
    )
    none = planned(["cpu:0", "cpu:0", "cpu:1"], [layer()] * 3, **{**grid, "recompute": "none"})
    assert none.stage_activation_bytes == (2 * one_layer, one_layer)


def test_with_recompute_a_bidirectional_block_has_the_activations_of_a_micro_batch() -> None:
    both = layer(both_ways=True)
    after = replace(layer(), input_bytes=2 * layer().input_bytes)
    grid = {"n_micro_batches": 2, "n_chunks": 4, "recompute": "cell", "schedule": "gpipe"}

    (found,) = planned(["cpu:0"] * 3, [layer(), both, after], **grid).stage_activation_bytes

    inputs = layer().input_bytes + both.input_bytes + after.input_bytes
    states = 2 * 4 * layer().state_bytes
    assert found == inputs + states + both.activation_bytes // 2


def test_with_recompute_backward_takes_the_time_of_forward_besides() -> None:
    found = planned(["cpu:0"], [WORK], recompute="cell")

    assert found.stage_times_ms == (pytest.approx((1e3, 3e3)),)
    assert found.timeline.step_ms == pytest.approx(4e3)


def test_a_bidirectional_layer_is_two_layers_and_a_barrier() -> None:
    one, both = layer(), layer(both_ways=True)

    assert both.total_flops == 2 * one.total_flops
    assert both.n_parameters == 2 * one.n_parameters
    assert both.activation_bytes == 2 * one.activation_bytes
    assert both.reverse_forward_flops == one.forward_flops
    assert (one.is_barrier, both.is_barrier) == (False, True)
    assert (one + both).is_barrier
    assert (one + both).reverse_forward_flops == one.forward_flops


def test_what_waits_is_all_from_the_first_barrier_on_and_back_all_up_to_the_last() -> None:
    costs = [layer(), layer(previous=True), layer(), layer()]
    devices = ["cpu:0", "cpu:0", "cpu:0", "cpu:1"]

    assert planned(devices, costs).held_shares == {0: (2 / 3, 2 / 3)}
    costs[0] = layer(both_ways=True)
    assert planned(devices, costs).held_shares == {0: (1.0, 3 / 4)}
    assert planned(devices, [layer()] * 4).held_shares == {}


def test_chunks_overlap_nothing_across_barriers_and_micro_batches_do() -> None:
    costs = [layer(both_ways=True)] * 2

    def bubble(n_micro_batches: int, n_chunks: int) -> float:
        grid = {"n_micro_batches": n_micro_batches, "n_chunks": n_chunks}
        return planned(["cpu:0", "cpu:1"], costs, **grid).timeline.bubble

    assert bubble(1, 8) == pytest.approx(1 / 2)
    assert bubble(4, 8) == pytest.approx(1 / 5)


def test_a_barrier_where_gradients_are_cut_is_refused() -> None:
    with pytest.raises(UsageError, match=r"schedule\.truncate=2 cannot be used with a barrier"):
        planned(["cpu:0", "cpu:1"], [layer(), layer(previous=True)], truncate=2)


def test_two_devices_halve_the_time_of_bidirectional_blocks_alone() -> None:
    costs = [layer(both_ways=True), layer(both_ways=True), layer()]
    one_way = layer().forward_flops / 1e3

    assert planned(["cpu:0"] * 3, costs).stage_times_ms == ((5 * one_way, 10 * one_way),)
    assert planned(["cpu:0+cpu:1"] * 3, costs).stage_times_ms == (
        pytest.approx((3 * one_way, 6 * one_way)),
    )


def test_a_second_device_where_no_block_has_two_directions_is_refused() -> None:
    check_reverse_devices(plan(["cpu:0+cpu:1", "cpu:0+cpu:1"]), [False, True])
    with pytest.raises(UsageError, match=r"gives blocks 0-1 two devices, cpu:0\+cpu:1, which only"):
        check_reverse_devices(plan(["cpu:0+cpu:1", "cpu:0+cpu:1"]), [False, False])
    with pytest.raises(UsageError, match="gives block 1 two devices"):
        check_reverse_devices(plan(["cpu:2", "cpu:0+cpu:1"]), [True, False])


def test_replayed_steps_need_memory_for_what_comes_in_and_a_copy_of_the_gradients() -> None:
    cost = replace(WORK, n_parameters=100)
    made = plan(["cpu:0", "cpu:1", "cpu:2"], n_chunks=1)
    eager = Planned(made, [cost] * 3, CLUSTER)
    replayed = Planned(made, [cost] * 3, CLUSTER, kept_inputs=(10, 2000, 3000))

    assert eager.replay_bytes == (0, 0, 0)
    assert replayed.replay_bytes == (
        10 + 2 * 2000 + 400,
        2 * 2000 + 2 * 3000 + 400,
        2 * 3000 + 400,
    )
    masked = replace(replayed, kept_masks=(7, 7, 0))
    assert [m - r for m, r in zip(masked.replay_bytes, replayed.replay_bytes, strict=True)] == [
        7,
        7,
        0,
    ]
    added = zip(replayed.stage_memory_bytes, eager.stage_memory_bytes, strict=True)
    assert tuple(more - less for more, less in added) == replayed.replay_bytes


def test_a_schedule_that_separates_w_needs_cores_that_leave_it_work() -> None:
    stages = (StagePlan("cpu:0", 0, 1), StagePlan("cuda:1", 1, 1))
    grid = Grid(schedule="zero_bubble")
    here, both = (Plan(len(some), grid, some) for some in (stages[:1], stages))

    check_weights_can_wait(here, ["auto"])
    check_weights_can_wait(both, ["auto", "fused"])
    check_weights_can_wait(both, ["lean", None])
    check_weights_can_wait(replace(both, grid=Grid(schedule="gpipe")), ["native"] * 2)
    with pytest.raises(UsageError, match=r"model\.core=native cannot; use model\.core=fused or"):
        check_weights_can_wait(here, ["native"])
    with pytest.raises(UsageError, match=r"model\.core=auto, native on cuda:1, cannot"):
        check_weights_can_wait(both, ["auto", "auto"])
