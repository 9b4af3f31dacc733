"""What barriers in time cost, and where a second device may stand."""

from collections.abc import Sequence

import pytest

from gru_parallel.errors import UsageError
from gru_parallel.placement import Cluster, Device, LayerCost, Link, Plan, gru_layer_cost
from gru_parallel.planning import (
    barrier_stages,
    check_reverse_devices,
    held_shares,
    plan_from_device_map,
    predict,
    stage_times_ms,
)


def layer(*, both_ways: bool = False, previous: bool = False) -> LayerCost:
    return gru_layer_cost("l", 4, 4, 8, 2, bidirectional=both_ways, is_barrier=previous)


def plan(devices: Sequence[str], **options: int) -> Plan:
    available = [f"cpu:{index}" for index in range(8)]
    return plan_from_device_map(devices, available, num_layers=len(devices), **options)


CLUSTER = Cluster(tuple(Device(f"cpu:{index}", 1e6) for index in range(8)), Link(1e9, 0.0))


def test_a_bidirectional_layer_is_two_layers_and_a_barrier() -> None:
    one, both = layer(), layer(both_ways=True)

    assert both.total_flops == 2 * one.total_flops
    assert both.n_parameters == 2 * one.n_parameters
    assert both.activation_bytes == 2 * one.activation_bytes
    assert both.output_bytes == 2 * one.output_bytes
    assert both.reverse_forward_flops == one.forward_flops
    assert (one.is_barrier, both.is_barrier) == (False, True)
    assert (one + both).is_barrier
    assert (one + both).reverse_forward_flops == one.forward_flops


def test_what_waits_is_all_from_the_first_barrier_on_and_back_all_up_to_the_last() -> None:
    costs = [layer(), layer(previous=True), layer(), layer()]
    cut = plan(["cpu:0", "cpu:0", "cpu:0", "cpu:1"])

    assert barrier_stages(cut, costs) == {0}
    assert held_shares(cut, costs) == {0: (2 / 3, 2 / 3)}
    costs[0] = layer(both_ways=True)
    assert held_shares(cut, costs) == {0: (1.0, 3 / 4)}
    assert held_shares(cut, [layer()] * 4) == {}


def test_chunks_overlap_nothing_across_barriers_and_micro_batches_do() -> None:
    costs = [layer(both_ways=True)] * 2

    def bubble(n_micro_batches: int, n_chunks: int) -> float:
        cut = plan(["cpu:0", "cpu:1"], n_micro_batches=n_micro_batches, n_chunks=n_chunks)
        times = stage_times_ms(cut, costs, CLUSTER)
        return predict(cut, times, held_shares(cut, costs)).bubble

    assert bubble(1, 8) == pytest.approx(1 / 2)
    assert bubble(4, 8) == pytest.approx(1 / 5)


def test_two_devices_halve_the_time_of_bidirectional_blocks_alone() -> None:
    costs = [layer(both_ways=True), layer(both_ways=True), layer()]
    alone = stage_times_ms(plan(["cpu:0", "cpu:0", "cpu:0"]), costs, CLUSTER)
    shared = stage_times_ms(plan(["cpu:0+cpu:1"] * 3), costs, CLUSTER)
    one_way = layer().forward_flops / 1e3

    assert alone == ((5 * one_way, 10 * one_way),)
    assert shared == (pytest.approx((3 * one_way, 6 * one_way)),)


def test_a_second_device_where_no_block_has_two_directions_is_refused() -> None:
    check_reverse_devices(plan(["cpu:0+cpu:1", "cpu:0+cpu:1"]), [False, True])
    with pytest.raises(UsageError, match=r"gives blocks 0-1 two devices, cpu:0\+cpu:1, which only"):
        check_reverse_devices(plan(["cpu:0+cpu:1", "cpu:0+cpu:1"]), [False, False])
    with pytest.raises(UsageError, match="gives block 1 two devices"):
        check_reverse_devices(plan(["cpu:2", "cpu:0+cpu:1"]), [True, False])
