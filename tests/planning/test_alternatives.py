"""Plans next to the best one, and the curve over devices."""

from __future__ import annotations

from dataclasses import replace

from gru_parallel.placement import Cluster, Device, ModelSpec, cut_stack
from gru_parallel.placement.cluster import Link, Machine
from gru_parallel.planning import (
    CurvePoint,
    Options,
    Problem,
    Workload,
    alternatives,
    device_counts,
    pays_until,
    scaling_curve,
    search,
)
from tests.affine_costs import AffineCosts

OPTIONS = Options(
    1,
    ("one_f_one_b", "zero_bubble"),
    (1, 2, 4),
    (1, 2, 4, 8),
    ("none", "cell"),
    ("fused", "lean"),
)


def problem(costs: AffineCosts, n_devices: int = 4, options: Options = OPTIONS) -> Problem:
    devices = tuple(Device(f"cpu:{index}", "cpu") for index in range(n_devices))
    spec = ModelSpec(cut_stack(4, 4, 4, h_0="zeros"))
    return Problem(Workload(spec, 8, 16), Cluster(devices, (Machine(n_devices),)), costs, options)


def test_each_alternative_changes_one_thing_and_none_is_faster() -> None:
    given = problem(AffineCosts(0.1, 0.1))
    best = search(given).best

    found = alternatives(given, best)

    changes = {other.change for other in found}
    assert {"1 stage", "3 stages", "1 stage, nothing cut", "recompute=cell"} <= changes
    assert best.plan.grid.schedule not in changes
    assert "core lean" in changes or best.plan.core == "lean"
    for other in found:
        assert other.planned.step_ms >= best.step_ms
    steps = [other.planned.step_ms for other in found]
    assert steps == sorted(steps)


def test_what_is_fixed_is_not_varied() -> None:
    fixed = replace(
        OPTIONS, schedules=("gpipe",), n_micro_batches=(1,), n_chunks=(4,), cores=("lean",)
    )
    fixed = replace(fixed, recompute=("none",))
    given = problem(AffineCosts(), options=fixed)

    changes = {other.change for other in alternatives(given, search(given).best)}

    assert changes == {"1 stage", "3 stages"}


def test_replicas_are_an_alternative_where_they_may_be() -> None:
    given = problem(AffineCosts(0.1), options=replace(OPTIONS, data_parallel=(1, 2, 4)))
    best = search(given).best

    changes = {other.change for other in alternatives(given, best)}

    widths = {1: "1 replica", 2: "2 replicas", 4: "4 replicas"}
    del widths[best.plan.data_parallel]
    assert set(widths.values()) <= changes


def test_the_curve_has_the_best_plan_for_each_number_of_devices() -> None:
    curve = scaling_curve(problem(AffineCosts(0.1)), [1, 2, 4])

    steps = [point.planned.step_ms for point in curve if point.planned is not None]
    assert [point.n_devices for point in curve] == [1, 2, 4]
    assert steps == sorted(steps, reverse=True)
    assert curve[0].planned is not None
    assert curve[0].planned.plan.n_stages == 1


def test_the_curve_ends_with_the_chosen_plan_where_it_is_the_better_one() -> None:
    given = problem(AffineCosts(0.1))
    better = search(problem(AffineCosts(0.01))).best

    assert scaling_curve(given, [1, 4], better)[-1].planned is better
    assert scaling_curve(given, [1, 2], better)[-1].planned is not better


def test_the_curve_ends_with_a_plan_that_was_tried_whatever_is_predicted() -> None:
    given = problem(AffineCosts(0.1))
    slower = search(problem(AffineCosts(0.1), n_devices=1)).best

    one, four = scaling_curve(given, [1, 4], slower, was_tried=True)

    assert one.planned is not None
    assert four.planned is slower
    assert slower.step_ms > search(given).best.step_ms


def test_under_ranks_the_curve_ends_with_the_chosen_plan_though_fewer_devices_are_faster() -> None:
    dear = AffineCosts(0.001, hand_over=Link(1.0, float("inf")))
    given = problem(dear, options=replace(OPTIONS, uses_all=True))
    chosen = search(given).best

    one, four = scaling_curve(given, [1, 4], chosen)

    assert one.planned is not None
    assert four.planned is chosen
    assert chosen.plan.n_stages == 4
    assert one.planned.step_ms < chosen.step_ms


def test_under_ranks_a_chosen_plan_that_does_not_fit_is_not_replaced() -> None:
    given = problem(AffineCosts(0.1), options=replace(OPTIONS, uses_all=True))
    roomy, *others = given.cluster.devices
    tiny = [replace(device, memory_bytes=10) for device in others]
    uneven = replace(given, cluster=replace(given.cluster, devices=(roomy, *tiny)))

    one, four = scaling_curve(uneven, [1, 4], search(uneven).best)

    assert one.planned is not None
    assert four.planned is None


def test_devices_are_counted_by_powers_of_two_up_to_all_of_them() -> None:
    assert device_counts(1) == [1]
    assert device_counts(6) == [1, 2, 4, 6]
    assert device_counts(8) == [1, 2, 4, 8]


def test_more_devices_pay_until_they_gain_little() -> None:
    free = scaling_curve(problem(AffineCosts(0.1)), [1, 2, 4])
    dear = scaling_curve(problem(AffineCosts(0.001, hand_over=Link(1.0, float("inf")))), [1, 2, 4])

    assert pays_until(free) == 4
    assert pays_until(dear) == 1
    assert pays_until([CurvePoint(1, None), *free[1:]]) == 4


def test_a_bidirectional_stack_gets_micro_batches_and_no_chunks() -> None:
    spec = ModelSpec(cut_stack(4, 4, 4, bidirectional=True))
    given = replace(problem(AffineCosts(0.1)), workload=Workload(spec, 8, 16))

    best = search(given).best

    assert best.plan.n_stages > 1
    assert best.plan.grid.n_micro_batches > 1
