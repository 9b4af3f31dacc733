"""Stages that share processors wait for each other, and replicas share the cores of a machine."""

from __future__ import annotations

import pytest

from gru_parallel.placement import Cluster, Device, Grid, ModelSpec, Plan, StagePlan, cut_stack
from gru_parallel.placement.cluster import Machine
from gru_parallel.planning import Planned, Workload
from gru_parallel.planning.processors import crowding
from tests.affine_costs import AffineCosts

N_ROWS, N_STEPS = 8, 4


def planned(n_cores: int, width: int, n_stages: int = 1, n_machines: int = 1) -> Planned:
    n_devices = width * n_stages
    devices = tuple(
        Device(f"cpu:{index}", "cpu", index * n_machines // n_devices) for index in range(n_devices)
    )
    cluster = Cluster(devices, n_machines * (Machine(n_cores),))
    sizes = 2 // n_stages
    stages = tuple(StagePlan(f"cpu:{i}", i * sizes, sizes) for i in range(n_stages))
    plan = Plan(2, Grid(1, "gpipe", 2, 1), stages, data_parallel=width)
    spec = ModelSpec(cut_stack(4, 4, 2, h_0="zeros"))
    return Planned(plan, Workload(spec, N_ROWS, N_STEPS), cluster, AffineCosts(1.0))


def pipeline_ms(*given: int, **options: int) -> float:
    return planned(*given, **options).timeline.step_ms


def test_replicas_share_the_cores_of_a_machine() -> None:
    two = pipeline_ms(2, 2)

    # Each replica has half of the rows, and then a half of a core.
    assert pipeline_ms(4, 4) == pytest.approx(two / 2)
    assert pipeline_ms(2, 4) == pytest.approx(two)
    assert pipeline_ms(1, 2) == pytest.approx(2 * two)
    # On two machines there are enough cores.
    assert pipeline_ms(2, 4, n_machines=2) == pytest.approx(two / 2)


def test_stages_of_replicas_take_turns_on_the_share_of_cores_that_each_replica_has() -> None:
    free = planned(4, 2, n_stages=2)
    shared = planned(2, 2, n_stages=2)

    assert free.pools == ()
    (pool,) = shared.pools
    assert (pool.stages, pool.n_slots) == (frozenset({0, 1}), 1)
    assert shared.timeline.step_ms == pytest.approx(free.work_ms)
    assert free.timeline.step_ms < free.work_ms


def test_a_core_that_many_replicas_share_is_slower_for_stages_that_take_turns() -> None:
    one = planned(1, 1, n_stages=2)

    assert pipeline_ms(1, 4, n_stages=2) == pytest.approx(one.timeline.step_ms)


def test_stages_alike_take_as_long_as_replicas_crowd_their_own_machine() -> None:
    devices = tuple(Device(f"cpu:{index}", "cpu", machine=index // 6) for index in range(12))
    machines = Cluster(devices, (Machine(n_cores=1), Machine(n_cores=1)))
    starts, sizes = (0, 1, 3, 5), (1, 2, 2, 1)
    stages = tuple(map(StagePlan, ("cpu:0", "cpu:1", "cpu:2", "cpu:3"), starts, sizes))
    plan = Plan(6, Grid(n_chunks=4), stages, "lean", 3)
    work = Workload(ModelSpec(cut_stack(8, 8, 6, h_0="zeros"), core="lean"), 12, 24)

    found = Planned(plan, work, machines, AffineCosts())

    # Both have two blocks; the third replica's cpu:2 is on the other machine, its cpu:1 is not.
    crowded = [crowding(plan, machines, device) for device in devices[1:3]]
    taken = [times.cell.forward_ms for times in found.stage_times[1:3]]
    assert crowded[0] != crowded[1]
    assert taken[0] / crowded[0] == pytest.approx(taken[1] / crowded[1])
