"""What stages need of memory, part by part."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gru_parallel.placement import (
    Cluster,
    Grid,
    ModelSpec,
    Plan,
    StagePlan,
    block_costs,
    cut_stack,
)
from gru_parallel.placement.cost import mask_bytes
from gru_parallel.planning.analytic import AnalyticCosts
from gru_parallel.planning.cell_costs import Workload
from gru_parallel.planning.memory import AUTOGRAD_BYTES, MemoryModel, StageMemory
from gru_parallel.planning.planned import Planned

WORK = Workload(ModelSpec(cut_stack(8, 16, 4, h_0="zeros"), core="fused"), n_rows=12, n_steps=24)


def plan_of(*sizes: int, **grid: Any) -> Plan:
    starts = [sum(sizes[:stage]) for stage in range(len(sizes))]
    names = [f"cuda:{stage}" for stage in range(len(sizes))]
    stages = tuple(map(StagePlan, names, starts, sizes))
    return Plan(sum(sizes), Grid(**{"n_chunks": 4, **grid}), stages)


def plan_memory(
    workload: Workload,
    plan: Plan,
    n_alive: Sequence[int],
    n_waiting: Sequence[int] = (),
    **options: Any,
) -> list[StageMemory]:
    """Return what each stage needs if it keeps so many cells at once."""
    devices = [stage.device for stage in plan.stages for _ in stage.blocks]
    model = MemoryModel(workload, plan.grid, devices, **options)
    waiting = n_waiting or [0] * plan.n_stages
    parts = zip(plan.stages, n_alive, waiting, strict=True)
    return [model.stage(stage.blocks, *cells) for stage, *cells in parts]


def needed(workload: Workload = WORK, **options: Any) -> StageMemory:
    """Return what four layers on one device need."""
    grid = {name: options.pop(name) for name in ("recompute", "n_chunks") if name in options}
    (found,) = plan_memory(workload, plan_of(4, **grid), [4], **options)
    return found


def n_parameters(workload: Workload = WORK) -> int:
    return sum(cost.n_parameters for cost in block_costs(workload.model, 1, 1))


@pytest.mark.parametrize("replays", [False, True])
@pytest.mark.parametrize("recompute", ["none", "cell"])
@pytest.mark.parametrize("bidirectional", [False, [True, False, False, True, False, False, False]])
def test_what_a_stage_needs_does_not_depend_on_what_was_asked_before(
    replays: bool, recompute: str, bidirectional: bool | list[bool]
) -> None:
    blocks = cut_stack(8, 8, 7, h_0="zeros", bidirectional=bidirectional)
    work = Workload(ModelSpec(blocks, core="lean"), n_rows=12, n_steps=24)
    grid = Grid(n_chunks=4, recompute=recompute)
    devices = [*["cpu:0"] * 2, *["cuda:0"] * 5]
    parts = [range(start, stop) for start in range(7) for stop in range(start + 1, 8)]
    asked = MemoryModel(work, grid, devices, replays=replays)

    for part in parts:
        for kept in ((1, 0), (4, 2)):
            anew = MemoryModel(work, grid, devices, replays=replays)
            assert asked.stage(part, *kept) == anew.stage(part, *kept)


def test_in_float32_with_adam_each_parameter_has_four_numbers() -> None:
    found, n = needed(), n_parameters()

    parts = (found.weight_bytes, found.gradient_bytes, found.optimizer_bytes)
    assert parts == (4 * n, 4 * n, 8 * n)
    assert found.fixed_bytes == 16 * n
    assert found.graph_bytes == 0


@pytest.mark.parametrize(
    ("n_copies", "n_bytes", "computed", "weights", "gradients", "states"),
    [
        (2, 4, 4, 4, 4, 0),
        (3, 4, 4, 4, 4, 4),
        # bf16-mixed: weights in float32, and a copy of each in bfloat16.
        (4, 4, 2, 6, 4, 8),
        # bf16-true: gradients are summed in float32.
        (4, 2, 2, 2, 4, 4),
        (4, 8, 8, 8, 8, 16),
    ],
)
def test_bytes_follow_the_optimiser_and_the_type(
    n_copies: int, n_bytes: int, computed: int, weights: int, gradients: int, states: int
) -> None:
    workload = replace(
        WORK, n_weight_copies=n_copies, bytes_per_number=n_bytes, bytes_per_activation=computed
    )
    found, n = needed(workload), n_parameters()

    assert found.weight_bytes == weights * n
    assert found.gradient_bytes == gradients * n
    assert found.optimizer_bytes == states * n
    assert found.activation_bytes == needed().activation_bytes * computed // 4


def test_activations_are_those_of_the_cells_that_are_alive() -> None:
    plan = plan_of(2, 2)
    costs = block_costs(WORK.model, 24, 12)

    first, last = plan_memory(WORK, plan, [4, 1])

    def kept(blocks: range) -> int:
        total = costs[blocks[0]] + costs[blocks[1]]
        return total.activation_bytes + 4 * total.start_bytes

    assert first.activation_bytes == kept(range(2))
    assert last.activation_bytes == kept(range(2, 4)) // 4


def test_steps_after_the_window_are_all_in_the_last_cell() -> None:
    model = replace(WORK.model, n_decoding=8)
    total = sum(c.activation_bytes for c in block_costs(model, 24 + 8, 12))

    def kept(n_alive: int) -> int:
        (found,) = plan_memory(replace(WORK, model=model), plan_of(4), [n_alive])
        return found.activation_bytes

    # Of four chunks of 6 steps, the last has 14 of 32: as many as two even ones.
    assert kept(1) >= total * 14 // 32
    assert kept(4) < 1.1 * total


def test_what_waits_for_w_is_counted() -> None:
    plan = plan_of(4, schedule="zero_bubble")
    waiting = sum(cost.waiting_bytes for cost in block_costs(WORK.model, 24, 12))

    (without,), (with_two,) = plan_memory(WORK, plan, [4]), plan_memory(WORK, plan, [4], [2])

    assert with_two.activation_bytes - without.activation_bytes == 2 * waiting // 4


def test_what_is_computed_again_is_not_kept() -> None:
    assert needed(recompute="cell").activation_bytes < needed().activation_bytes / 2


def test_a_replica_has_its_share_of_the_rows() -> None:
    half = replace(WORK, n_rows=6)

    assert needed(n_replicas=2) == needed(half)
    # The replica that has most: 12 rows are 3, 3, 2, 2 and 2.
    assert needed(n_replicas=5) == needed(replace(WORK, n_rows=3))


def test_the_workspace_is_smaller_where_cells_are() -> None:
    assert needed(n_chunks=8).workspace_bytes < needed(n_chunks=1).workspace_bytes
    both = replace(WORK, model=replace(WORK.model, blocks=cut_stack(8, 16, 4, bidirectional=True)))
    # It runs whole windows.
    assert needed(both, n_chunks=8).workspace_bytes == needed(both, n_chunks=1).workspace_bytes


def test_graphs_keep_what_crosses_boundaries_of_all_cells_and_a_copy_of_the_gradients() -> None:
    plan = plan_of(1, 2, 1)
    found = plan_memory(WORK, plan, [4, 4, 4], replays=True)

    # Blocks take in 8 features, then 16.
    taken, between = 4 * 24 * 12 * 8, 2 * 4 * 24 * 12 * 16
    gradients = [stage.gradient_bytes for stage in found]
    assert [stage.graph_bytes for stage in found] == [
        taken + between + gradients[0],
        between + between + gradients[1],
        between + gradients[2],
    ]


def test_masks_of_dropout_are_kept_with_the_activations_or_in_graphs() -> None:
    dropped = replace(WORK, model=replace(WORK.model, has_dropout=True))
    masks = sum(mask_bytes(dropped.model, 24, 12))
    graphs = needed(dropped, replays=True)

    assert needed(dropped).activation_bytes - graphs.activation_bytes == masks
    assert graphs.graph_bytes - needed(replays=True).graph_bytes == masks


# MiB by which a step of the threads engine on two cores raised the peak of its process (RSS): four
# layers, the peers benchmark of 2026-11-27 (benchmarks/README.md). Shape, core, schedule, M, C.
PEAKS: list[tuple[tuple[int, int, int], str, str, int, int, float]] = [
    ((128, 32, 96), "native", "gpipe", 1, 8, 59.2),
    ((128, 32, 96), "fused", "gpipe", 1, 8, 39.3),
    ((128, 32, 96), "lean", "zero_bubble", 1, 4, 46.3),
    ((128, 32, 96), "fused", "one_f_one_b", 4, 1, 24.2),
    ((256, 64, 96), "native", "gpipe", 1, 4, 214.0),
    ((256, 64, 96), "lean", "zero_bubble", 1, 8, 178.1),
    ((256, 64, 96), "lean", "zero_bubble", 1, 16, 190.6),
    ((256, 64, 96), "fused", "gpipe", 2, 4, 146.0),
    ((256, 64, 96), "fused", "gpipe", 2, 8, 140.0),
    ((128, 4, 512), "native", "gpipe", 1, 8, 65.8),
    ((128, 4, 512), "fused", "gpipe", 1, 8, 26.3),
    ((128, 4, 512), "fused", "zero_bubble", 1, 8, 35.5),
    ((128, 4, 512), "lean", "zero_bubble", 1, 8, 32.2),
]


@pytest.mark.parametrize(
    ("shape", "core", "schedule", "n_micro_batches", "n_chunks", "peak_mib"), PEAKS
)
def test_what_a_step_adds_is_within_a_quarter_of_what_was_measured(
    shape: tuple[int, int, int],
    core: str,
    schedule: str,
    n_micro_batches: int,
    n_chunks: int,
    peak_mib: float,
) -> None:
    hidden_size, rows, n_steps = shape
    model = ModelSpec(cut_stack(hidden_size, hidden_size, 4), n_outputs=1, core=core)
    stages = (StagePlan("cpu:0", 0, 2), StagePlan("cpu:1", 2, 2))
    plan = Plan(4, Grid(1, schedule, n_micro_batches, n_chunks), stages, core)
    cluster = Cluster.of(["cpu:0", "cpu:1"])
    workload = Workload(model, rows, n_steps)
    planned = Planned(plan, workload, cluster, AnalyticCosts(cluster))

    # Weights were there before, and there was no optimiser.
    added = sum(
        stage.gradient_bytes + stage.activation_bytes + stage.workspace_bytes
        for stage in planned.stage_memory
    )

    assert added / 2**20 == pytest.approx(peak_mib, rel=0.25)


def test_autograd_takes_memory_for_each_step_of_the_native_core_on_a_cpu() -> None:
    native = replace(WORK, model=replace(WORK.model, core="native"))
    on_cpu = Plan(4, Grid(n_chunks=4), (StagePlan("cpu:0", 0, 4),))

    (here,), (there,) = plan_memory(native, on_cpu, [3]), plan_memory(native, plan_of(4), [3])

    # Four layers, and three chunks of six steps.
    assert here.workspace_bytes - there.workspace_bytes == 4 * 3 * 6 * AUTOGRAD_BYTES
    assert here.activation_bytes == there.activation_bytes
