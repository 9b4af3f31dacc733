"""What a plan should come to: its times, its memory, and what barriers in time cost."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Device, Grid, ModelSpec, Plan, StagePlan, cut_stack
from gru_parallel.placement.cluster import Link, Machine
from gru_parallel.planning import (
    Planned,
    Workload,
    check_reverse_devices,
    check_weights_can_wait,
    plan_from_device_map,
)
from gru_parallel.planning.processors import busy_stages
from tests.affine_costs import AffineCosts

CPUS = [f"cpu:{index}" for index in range(8)]
CLUSTER = Cluster(tuple(Device(name, "cpu") for name in CPUS), (Machine(8),))
N_ROWS, N_STEPS = 4, 8
# F of a layer takes 32 ms for the batch, B and W twice as much together.
COSTS = AffineCosts(1.0)
# Of the gradients of two layers.
N_BYTES = 4 * 2 * (3 * 4 * (4 + 4) + 2 * 3 * 4)


def plan(devices: Sequence[str], **options: Any) -> Plan:
    return plan_from_device_map(devices, CPUS, num_layers=len(devices), grid=Grid(**options))


def planned(
    devices: Sequence[str], costs: AffineCosts = COSTS, *, model: Any = None, **options: Any
) -> Planned:
    spec = ModelSpec(cut_stack(4, 4, len(devices), **{"h_0": "zeros", **(model or {})}))
    return Planned(plan(devices, **options), Workload(spec, N_ROWS, N_STEPS), CLUSTER, costs)


def test_a_model_of_other_blocks_than_the_plans_is_refused() -> None:
    spec = ModelSpec(cut_stack(4, 4, 2))
    with pytest.raises(ValueError, match="2 blocks of the model do not fit the plan's 3"):
        Planned(plan(["cpu:0"] * 3), Workload(spec, 1, 8), CLUSTER, COSTS)


def test_stage_times_follow_each_devices_speed() -> None:
    devices = Cluster((Device("cpu:0", "cpu"), Device("cuda:0", "card")), (Machine(8),))
    stages = (StagePlan("cuda:0", 0, 1), StagePlan("cpu:0", 1, 2))
    work = Workload(ModelSpec(cut_stack(4, 4, 3)), N_ROWS, N_STEPS)

    found = Planned(
        Plan(3, Grid(n_chunks=4), stages), work, devices, AffineCosts(slower={"card": 0.25})
    )

    assert found.stage_times_ms == (pytest.approx((8, 16, 0)), pytest.approx((64, 128, 0)))


def test_w_has_a_time_of_its_own_where_the_schedule_has_a_w() -> None:
    found = planned(["cpu:0", "cpu:1"], schedule="zero_bubble", n_chunks=4)

    assert found.stage_times_ms == (pytest.approx((32, 32, 32)),) * 2


def test_a_device_that_the_cluster_lacks_is_refused() -> None:
    work = Workload(ModelSpec(cut_stack(4, 4, 2)), 1, 8)
    with pytest.raises(UsageError, match="no device 'cpu:1'"):
        Planned(plan(["cpu:0", "cpu:1"]), work, Cluster.of(["cpu:0"]), COSTS)


def test_devices_without_a_stage_idle() -> None:
    model = {"bidirectional": True}
    found = planned(["cpu:0", "cpu:1+cpu:2"], model=model)
    assert found.idle_devices == tuple(CPUS[3:])


def test_a_step_is_its_pipeline_and_what_comes_once() -> None:
    found = planned(["cpu:0", "cpu:1"], AffineCosts(1.0, once_ms=5.0), n_chunks=4)

    assert found.timeline.step_ms == pytest.approx(96 * 5 / 4)
    assert found.step_ms == pytest.approx(96 * 5 / 4 + 5)


def test_hand_overs_take_what_their_link_takes_for_a_cells_outputs() -> None:
    # 4 rows of 2 steps of 4 features of 4 bytes.
    found = planned(["cpu:0", "cpu:1"], AffineCosts(hand_over=Link(0.5, 128e3)), n_chunks=4)

    assert found.crossings == (pytest.approx((0.5 + 1.0, 1.0)),)
    free = planned(["cpu:0", "cpu:1"], n_chunks=4).timeline.step_ms
    assert found.timeline.step_ms == pytest.approx(free + 2 * 1.5)


def test_a_step_takes_no_less_than_all_that_crosses_a_link_in_both_directions() -> None:
    # 4 rows of 8 steps of 4 features of 4 bytes: 512 ms each way, however they are cut.
    slow = AffineCosts(1.0, hand_over=Link(0.5, 1e3))

    for n_chunks in (1, 4, 8):
        found = planned(["cpu:0", "cpu:1"], slow, n_chunks=n_chunks)
        # F and B of one cell on each stage, beside the other cells on the link.
        cell_ms = (32 + 64) / n_chunks
        assert found.step_ms == pytest.approx(2 * 512 + 2 * 0.5 + 2 * cell_ms)


def test_replicas_share_the_rows_and_exchange_gradients() -> None:
    two = planned(["cpu:0", "cpu:0"], AffineCosts(hand_over=Link(0.5, 1e6)))
    two = replace(two, plan=replace(two.plan, data_parallel=2))

    assert two.timeline.step_ms == pytest.approx(2 * 96 / 2)
    assert two.exchange_ms == pytest.approx(2 * (0.5 + 1e3 * N_BYTES / 2 / 1e6))


INSIDE, BETWEEN = Link(0.0, 1e9), Link(0.5, 1e6)
# Two machines of four.
FAR = Cluster(
    tuple(Device(f"cuda:{index}", "card", machine=index // 4) for index in range(8)),
    (Machine(), Machine()),
    INSIDE,
    BETWEEN,
)


def exchanged(width: int, cluster: Cluster = FAR) -> Planned:
    """Replicas of one stage of two layers, one after another in the cluster."""
    work = Workload(ModelSpec(cut_stack(4, 4, 2, h_0="zeros")), N_ROWS, N_STEPS)
    one = Plan(2, Grid(), (StagePlan("cuda:0", 0, 2),), data_parallel=width)
    return Planned(one, work, cluster, AffineCosts(1.0, cluster=cluster))


def test_the_slowest_link_between_replicas_sets_the_pace_of_their_exchange() -> None:
    for width, link in ((4, INSIDE), (5, BETWEEN), (8, BETWEEN)):
        expected_ms = 2 * (width - 1) * link.ms(N_BYTES / width)
        assert exchanged(width).exchange_ms == pytest.approx(expected_ms)


def test_replicas_that_a_device_map_does_not_name_are_spread_over_the_machines() -> None:
    for width in (2, 4):
        expected_ms = 2 * (width - 1) * BETWEEN.ms(N_BYTES / width)
        assert exchanged(width, FAR.only(["cuda:0"])).exchange_ms == pytest.approx(expected_ms)


def test_a_stage_that_ends_earlier_begins_its_exchange_earlier() -> None:
    slow = AffineCosts(1.0, hand_over=Link(0.0, 1e5))
    two = planned(["cpu:0", "cpu:1", "cpu:1", "cpu:1"], slow, n_chunks=8)
    two = replace(two, plan=replace(two.plan, data_parallel=2))

    # Stage 1 has three of four layers, and ends when stage 0 has B of one cell left.
    first_ms, second_ms = (4 * number / 1e5 * 1e3 for number in two.stage_parameters)
    last_cell_ms = two.timeline.step_ms - two.timeline.stage_events(1)[-1].end_ms
    assert last_cell_ms > 0
    assert two.exchange_ms == pytest.approx(max(first_ms, second_ms - last_cell_ms))


def test_more_stages_than_cores_take_turns() -> None:
    few = replace(CLUSTER, machines=(Machine(2),))
    four = planned(["cpu:0", "cpu:1", "cpu:2", "cpu:3"], n_chunks=8)

    assert replace(four, cluster=few).timeline.step_ms >= 4 * 96 / 2
    assert four.timeline.step_ms == pytest.approx(96 * 11 / 8)


def test_two_stages_on_one_card_take_turns() -> None:
    cards = Cluster((Device("cuda:0", "card"),))
    stages = (StagePlan("cuda:0", 0, 1), StagePlan("cuda:0", 1, 1))
    work = Workload(ModelSpec(cut_stack(4, 4, 2)), N_ROWS, N_STEPS)

    found = Planned(Plan(2, Grid(n_chunks=4), stages), work, cards, COSTS)

    assert found.timeline.step_ms == pytest.approx(2 * 96)


def test_with_recompute_backward_takes_the_time_of_forward_besides() -> None:
    found = planned(["cpu:0"], recompute="cell")

    assert found.stage_times_ms == (pytest.approx((32, 96, 0)),)
    assert found.timeline.step_ms == pytest.approx(128)


def test_chunks_overlap_nothing_across_barriers_and_micro_batches_do() -> None:
    def bubble(n_micro_batches: int, n_chunks: int) -> float:
        return planned(
            ["cpu:0", "cpu:1"],
            model={"bidirectional": True},
            n_micro_batches=n_micro_batches,
            n_chunks=n_chunks,
        ).timeline.bubble

    assert bubble(1, 8) == pytest.approx(1 / 2)
    assert bubble(4, 8) == pytest.approx(1 / 5)


def test_all_that_barriers_hold_back_crosses_their_links_however_it_is_cut() -> None:
    slow = AffineCosts(1.0, hand_over=Link(0.5, 1e4))
    # 4 rows of 8 steps of 2 x 4 features of 4 bytes, there and back.
    crossing_ms = 2 * (0.5 + 1e3 * 4 * 8 * 8 * 4 / 1e4)

    for n_chunks in (1, 4, 8):
        found = planned(["cpu:0", "cpu:1"], slow, model={"bidirectional": True}, n_chunks=n_chunks)
        assert found.timeline.step_ms == pytest.approx(found.work_ms + crossing_ms)


def test_without_barriers_the_same_work_would_overlap() -> None:
    held = planned(["cpu:0", "cpu:1"], model={"bidirectional": True}, n_chunks=8)

    assert held.timeline_without_barriers.bubble == pytest.approx(1 / 9)
    assert held.barriers == {0, 1}


def test_a_barrier_where_gradients_are_cut_is_refused() -> None:
    with pytest.raises(UsageError, match=r"schedule\.truncate=2 cannot be used with a barrier"):
        planned(["cpu:0", "cpu:1"], model={"h_0": ["zeros", "previous"]}, truncate=2)


def test_two_devices_halve_the_time_of_bidirectional_blocks_alone() -> None:
    model = {"bidirectional": [True, True, False]}
    one_way = N_ROWS * N_STEPS * 1.0

    alone = planned(["cpu:0"] * 3, model=model)
    helped = planned(["cpu:0+cpu:1"] * 3, model=model)

    assert alone.stage_times_ms == (pytest.approx((5 * one_way, 10 * one_way, 0)),)
    assert helped.stage_times_ms == (pytest.approx((3 * one_way, 6 * one_way, 0)),)


def test_each_direction_needs_memory_on_its_own_device() -> None:
    model = {"bidirectional": True}
    alone = planned(["cpu:0"] * 2, model=model)
    helped = planned(["cpu:0+cpu:1"] * 2, model=model)
    (needed,) = alone.stage_memory_bytes

    def fits(plan: Planned, memory_bytes: int) -> bool:
        devices = (Device(name, "cpu", memory_bytes=memory_bytes) for name in CPUS)
        return replace(plan, cluster=replace(CLUSTER, devices=tuple(devices))).fits

    assert helped.stage_memory_bytes == (needed,)
    assert fits(alone, needed)
    assert not fits(alone, needed - 1)
    assert fits(helped, needed // 2 + 1)
    assert not fits(helped, needed // 2 - 1)


def test_one_way_blocks_need_nothing_on_a_second_device() -> None:
    model = {"bidirectional": [True, False]}
    stage = planned(["cpu:0+cpu:1"] * 2, model=model)
    second = stage.memory_model.second(range(2), stage.stage_memory[0])

    # The gates of 4 units by 4 features, in two of the three directions that there are.
    n_each = [3 * 4 * (4 + 4 + 2), 3 * 4 * (4 + 4 + 2), 3 * 4 * (8 + 4 + 2)]
    of_one = stage.stage_memory[0].weight_bytes * n_each[0] // sum(n_each)
    assert second.weight_bytes == of_one
    assert 0 < second.activation_bytes < stage.stage_memory[0].activation_bytes / 2


def test_a_barrier_that_runs_in_one_direction_gains_nothing_by_a_second_device() -> None:
    model = {"bidirectional": [True, False, False], "h_0": ["zeros", "zeros", "previous"]}
    one_way = N_ROWS * N_STEPS * 1.0

    helped = planned(["cpu:0+cpu:1"] * 3, model=model)

    assert helped.stage_times_ms == (pytest.approx((3 * one_way, 6 * one_way, 0)),)


def test_a_second_device_where_no_block_has_two_directions_is_refused() -> None:
    check_reverse_devices(plan(["cpu:0+cpu:1", "cpu:0+cpu:1"]), [False, True])
    with pytest.raises(UsageError, match=r"gives blocks 0-1 two devices, cpu:0\+cpu:1, which only"):
        check_reverse_devices(plan(["cpu:0+cpu:1", "cpu:0+cpu:1"]), [False, False])
    with pytest.raises(UsageError, match="gives block 1 two devices"):
        check_reverse_devices(plan(["cpu:2", "cpu:0+cpu:1"]), [True, False])


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


def test_a_stage_on_a_cpu_is_busy_beside_those_of_its_machine_and_at_least_itself() -> None:
    devices = (
        *(Device(f"cpu:{index}", "cpu", machine=index // 2) for index in range(4)),
        Device("cuda:0", "card"),
    )
    cluster = Cluster(devices, (Machine(), Machine(1)))
    first, beside, other, _, card = devices

    many = 1_000_000
    assert busy_stages(cluster, first, ["cpu:0", "cpu:1", "cpu:2"], many) == pytest.approx(2)
    assert busy_stages(cluster, beside, ["cuda:0"], many) == 1
    # With one core, one works at a time.
    assert busy_stages(cluster, other, ["cpu:2", "cpu:3"], many) == 1
    assert busy_stages(cluster, card, ["cpu:0", "cpu:1"], many) == 1
    assert busy_stages(cluster, first, ["cpu:0", "cpu:1"], many, width=4) == pytest.approx(4)


def test_stages_overlap_in_all_cells_but_as_many_as_they_are_apart() -> None:
    cluster = Cluster(tuple(Device(f"cpu:{index}", "cpu") for index in range(3)), (Machine(),))
    first, names = cluster.devices[0], [device.name for device in cluster.devices]

    # One cell goes from stage to stage.
    assert busy_stages(cluster, first, names, 1) == 1
    # Of two cells, each stage has one beside each neighbour: 1, 2 and 1 of them for 2.
    assert busy_stages(cluster, first, names, 2) == pytest.approx(1 + (0.5 + 1 + 0.5) / 3)
    assert busy_stages(cluster, first, names[:2], 4) == pytest.approx(1 + 3 / 4)
