"""What is said where a plan needs more memory than there is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gru_parallel.placement import (
    Cluster,
    Device,
    Grid,
    Machine,
    ModelSpec,
    Plan,
    StagePlan,
    cut_stack,
)
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.planning.memory import MemoryModel, StageMemory
from gru_parallel.planning.shortage import RESERVED_BYTES, Shortage, shortages

GIB = 2**30
WORK = Workload(ModelSpec(cut_stack(8, 16, 4, h_0="zeros"), core="fused"), n_rows=12, n_steps=24)


def plan_of(*sizes: int, kind: str = "cuda", **grid: Any) -> Plan:
    starts = [sum(sizes[:stage]) for stage in range(len(sizes))]
    names = [f"{kind}:{stage}" for stage in range(len(sizes))]
    stages = tuple(map(StagePlan, names, starts, sizes))
    return Plan(sum(sizes), Grid(**{"n_chunks": 4, **grid}), stages)


def stage_of(fixed: float = 0.0, activations: float = 0.0, graphs: float = 0.0) -> StageMemory:
    """A stage that needs so many GiB."""
    weights, kept, recorded = (round(gib * GIB) for gib in (fixed, activations, graphs))
    return StageMemory(weights, 0, 0, kept, 0, recorded)


def cards(*memory_gib: float | None) -> Cluster:
    sizes = [None if gib is None else round(gib * GIB) for gib in memory_gib]
    return Cluster(
        tuple(
            Device(f"cuda:{index}", "h100", memory_bytes=size) for index, size in enumerate(sizes)
        )
    )


def lacking(memory: Sequence[StageMemory], plan: Plan, cluster: Cluster) -> tuple[Shortage, ...]:
    return shortages(memory, plan, cluster, WORK)


def test_a_plan_that_fits_lacks_nothing() -> None:
    assert lacking([stage_of(3), stage_of(4)], plan_of(2, 2), cards(4, 5)) == ()


def test_memory_that_nobody_knows_is_assumed_to_suffice() -> None:
    assert lacking([stage_of(1e6)], plan_of(4), cards(None)) == ()
    on_cpu = plan_of(4, kind="cpu")
    assert lacking([stage_of(1e6)], on_cpu, Cluster.of(["cpu:0"])) == ()


def test_a_stage_that_does_not_fit_is_named_with_its_device_and_the_bytes() -> None:
    (found,) = lacking([stage_of(3), stage_of(1, 6)], plan_of(2, 2), cards(4, 5))

    assert (found.stages, found.place) == ((1,), "cuda:1")
    assert found.available_bytes == 5 * GIB - RESERVED_BYTES
    assert found.lacking_bytes == 3 * GIB
    assert str(found).startswith(
        "stage 1 needs 7 GiB on cuda:1, where 4 GiB can be used: 3 GiB are missing; use"
        " schedule.recompute=cell, or schedule.truncate=1"
    )


def test_stages_of_one_device_are_added_up() -> None:
    stages = tuple(StagePlan("cuda:0", index, 1) for index in range(3))
    plan = Plan(3, Grid(), stages)

    (found,) = lacking([stage_of(2)] * 3, plan, cards(4))

    assert found.stages == (0, 1, 2)
    assert found.lacking_bytes == 3 * GIB


def test_cpu_devices_of_one_machine_share_its_memory() -> None:
    cluster = Cluster(
        tuple(Device(f"cpu:{index}", "cpu", machine=index // 2) for index in range(4)),
        (Machine(memory_bytes=3 * GIB), Machine(memory_bytes=5 * GIB)),
    )
    memory = [stage_of(2)] * 4

    (found,) = lacking(memory, plan_of(1, 1, 1, 1, kind="cpu"), cluster)

    assert (found.stages, found.place) == ((0, 1), "cpu:0 to cpu:1 of one machine")
    assert found.lacking_bytes == GIB
    assert "stages 0, 1 need 4 GiB on cpu:0 to cpu:1 of one machine" in str(found)


def test_replicas_on_one_machine_share_its_memory() -> None:
    cluster = Cluster((Device("cpu:0", "cpu"),), (Machine(memory_bytes=5 * GIB),))
    plan = plan_of(4, kind="cpu")

    assert shortages([stage_of(2)], plan, cluster, WORK, n_replicas=2) == ()
    (found,) = shortages([stage_of(2)], plan, cluster, WORK, n_replicas=3)
    assert found.lacking_bytes == GIB


def test_of_three_replicas_on_two_machines_one_holds_two() -> None:
    machines = (Machine(memory_bytes=3 * GIB), Machine(memory_bytes=3 * GIB))
    cluster = Cluster((Device("cpu:0", "cpu"), Device("cpu:1", "cpu", machine=1)), machines)
    plan = plan_of(4, kind="cpu")

    assert shortages([stage_of(2)], plan, cluster, WORK, n_replicas=2) == ()
    (found,) = shortages([stage_of(2)], plan, cluster, WORK, n_replicas=3)
    assert found.lacking_bytes == GIB


def remedies(memory: StageMemory, workload: Workload = WORK, **grid: Any) -> tuple[str, ...]:
    (found,) = shortages([memory], plan_of(4, **grid), cards(4), workload)
    return found.remedies


def test_where_activations_are_too_many_cutting_otherwise_helps() -> None:
    lean = replace(WORK, model=replace(WORK.model, core="lean"))
    rows = "a smaller data.batch_size with trainer.accumulate_grad_batches"
    truncated = "schedule.truncate=1 with many chunks"

    assert remedies(stage_of(1, 5)) == (
        "schedule.recompute=cell",
        truncated,
        "model.core=lean",
        rows,
        "more devices",
    )
    assert remedies(stage_of(1, 5), recompute="cell")[0] == truncated
    assert "model.core=lean" not in remedies(stage_of(1, 5), lean)
    assert truncated not in remedies(stage_of(1, 5), truncate=2)
    assert rows not in remedies(stage_of(1, 5), replace(WORK, n_rows=1))
    assert "engine.graphs=false" in remedies(stage_of(1, 3, 2))


def test_where_weights_are_too_many_only_devices_and_numbers_help() -> None:
    found = remedies(stage_of(6))

    assert found[0] == "more devices"
    assert not any("schedule" in remedy or "batch" in remedy for remedy in found)
    assert any("sgd" in remedy for remedy in found)
    none_left = replace(WORK, n_weight_copies=2, bytes_per_number=2)
    assert remedies(stage_of(6), none_left) == ("more devices", "a smaller model.hidden_size")


def test_truncation_is_no_remedy_across_a_barrier() -> None:
    both = replace(WORK, model=ModelSpec(cut_stack(8, 16, 4, bidirectional=True)))

    assert not any("truncate" in remedy for remedy in remedies(stage_of(1, 5), both))


def test_a_block_of_several_layers_may_have_to_be_cut() -> None:
    plan = Plan(4, Grid(layers_per_block=4), (StagePlan("cuda:0", 0, 1),))
    model = ModelSpec(cut_stack(8, 16, 4, 4))

    (found,) = shortages([stage_of(6)], plan, cards(4), replace(WORK, model=model))

    assert found.remedies[0] == "more devices with a smaller model.layers_per_block"


def test_weights_of_840_gib_do_not_fit_an_h100() -> None:
    """What no plan warned of: 96 layers of width 8,192."""
    model = ModelSpec(cut_stack(8192, 8192, 96))
    workload = Workload(model, n_rows=64, n_steps=512)
    plan = plan_of(96)

    memory = MemoryModel(workload, plan.grid, ["cuda:0"] * 96).stage(range(96), 4)
    (found,) = shortages([memory], plan, cards(79), workload)

    assert memory.fixed_bytes == pytest.approx(16 * 96 * 6 * 8192**2, rel=0.001)
    assert found.lacking_bytes > 500 * GIB


def test_more_devices_are_no_remedy_for_a_layer_that_is_alone_on_its_device() -> None:
    plan, both = plan_of(1), replace(WORK, model=ModelSpec(cut_stack(8, 16, 1, bidirectional=True)))

    def of(memory: StageMemory, plan: Plan = plan, workload: Workload = WORK) -> tuple[str, ...]:
        (found,) = shortages([memory], plan, cards(4), workload)
        return found.remedies

    for memory in (stage_of(6), stage_of(1, 5)):
        assert "more devices" not in of(memory)
        assert of(memory)[-1] == "a smaller model.hidden_size"
        # The other device could have its reverse direction, where it has not yet.
        assert "more devices" in of(memory, workload=both)
    apart = replace(plan, stages=(StagePlan("cuda:0", 0, 1, "cuda:1"),))
    assert "more devices" not in of(stage_of(6), apart, both)


def test_more_machines_are_a_remedy_for_replicas_that_share_one() -> None:
    cluster = Cluster((Device("cpu:0", "cpu"),), (Machine(memory_bytes=5 * GIB),))
    plan = plan_of(1, kind="cpu")

    (alone,) = lacking([stage_of(6)], plan, cluster)
    (several,) = shortages([stage_of(4)], plan, cluster, WORK, n_replicas=2)

    assert "more machines" not in alone.remedies
    assert "more machines" in several.remedies


def test_what_the_memory_of_a_machine_lacks_no_device_of_it_gives() -> None:
    cluster = Cluster((Device("cpu:0", "cpu"),), (Machine(memory_bytes=GIB),))

    (found,) = lacking([stage_of(2)], plan_of(4, kind="cpu"), cluster)

    assert found.remedies[0] == "more machines"


def test_what_a_stage_has_on_its_second_device_is_counted_there() -> None:
    stages = (StagePlan("cuda:0", 0, 1, "cuda:1"), StagePlan("cuda:1", 1, 1))
    plan = Plan(2, Grid(), stages)
    memory, second = [stage_of(6), stage_of(2)], {0: stage_of(2)}

    def found(*memory_gib: float) -> list[tuple[str, tuple[int, ...], float]]:
        lacking = shortages(memory, plan, cards(*memory_gib), WORK, second=second)
        return [(each.place, each.stages, each.needed.total_bytes / GIB) for each in lacking]

    # 1 GiB of each card is CUDA's own.
    assert found(5, 5) == []
    assert found(4.5, 5) == [("cuda:0", (0,), 4)]
    assert found(5, 4.5) == [("cuda:1", (0, 1), 4)]
