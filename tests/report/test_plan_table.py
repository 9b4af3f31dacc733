"""The plan's table: what it says of each stage, of the step, and of unusual devices."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.table import Table

from gru_parallel.placement import Cluster, Device, Grid, ModelSpec, Plan, StagePlan, cut_stack
from gru_parallel.placement.cluster import Machine
from gru_parallel.planning import Planned, Workload
from gru_parallel.report import plan_table
from tests.affine_costs import AffineCosts

Show = Callable[[Table], str]

N_ROWS, N_STEPS, HIDDEN = 2, 40, 4
# F of a block of two layers takes 10 ms, B and W together 20 ms.
COSTS = AffineCosts(10 / (2 * N_ROWS * N_STEPS), once_ms=5.0)


def table_of(plan: Plan, n_devices: int, costs: AffineCosts = COSTS, **model: Any) -> Table:
    return plan_table(planned(plan, n_devices, costs, **model))


def planned(plan: Plan, n_devices: int, costs: AffineCosts = COSTS, **model: Any) -> Planned:
    devices = tuple(Device(f"cuda:{index}", "card") for index in range(n_devices))
    per_block = plan.grid.layers_per_block
    options = {"h_0": "zeros", **model}
    blocks = cut_stack(HIDDEN, HIDDEN, plan.num_layers, per_block, **options)
    work = Workload(ModelSpec(blocks), N_ROWS, N_STEPS)
    return Planned(plan, work, Cluster(devices, (Machine(),)), costs)


def plan(*sizes: int, devices: tuple[str, ...] | None = None, n_chunks: int = 8) -> Plan:
    names = devices or tuple(f"cuda:{stage}" for stage in range(len(sizes)))
    starts = [sum(sizes[:stage]) for stage in range(len(sizes))]
    stages = tuple(map(StagePlan, names, starts, sizes))
    return Plan(2 * sum(sizes), Grid(2, "one_f_one_b", 1, n_chunks), stages)


def test_a_row_names_device_layers_parameters_memory_and_time_of_a_stage(show: Show) -> None:
    lines = show(table_of(plan(1, 2), 2)).splitlines()
    rows = [line.split() for line in lines]

    # Two matrices of three gates and two biases, for each of two layers.
    n_parameters = 2 * (2 * 3 * HIDDEN * HIDDEN + 2 * 3 * HIDDEN)
    assert any(
        row[:4] == ["0", "cuda:0", "0-1", str(n_parameters)] and row[-2:] == ["30.0", "ms"]
        for row in rows
    )
    assert any(
        row[:4] == ["1", "cuda:1", "2-5", str(2 * n_parameters)] and row[-2:] == ["60.0", "ms"]
        for row in rows
    )
    assert any(row[:3] == ["all", "0-5", f"{3 * n_parameters:,}"] for row in rows)


def test_a_stage_of_one_layer_names_just_that(show: Show) -> None:
    one_layer = Plan(1, Grid(), (StagePlan("cuda:0", 0, 1),))
    rows = [line.split() for line in show(table_of(one_layer, 1)).splitlines()]

    assert any(row[:3] == ["0", "cuda:0", "0"] and row[-2:] == ["15.0", "ms"] for row in rows)


def test_the_caption_has_the_grid_and_the_predicted_step_and_bubble(show: Show) -> None:
    text = show(table_of(plan(1, 1), 2))

    assert "schedule: one_f_one_b, 1 micro-batch x 8 chunks" in text
    # (M*C + S-1) / (M*C) * 30 ms, and (S-1) / (M*C + S-1).
    assert "predicted: step 38.8 ms, of which 33.8 ms pipeline; bubble 11.1 %" in text
    assert "times of layers: made up" in text


def test_the_caption_has_the_core_by_kind_of_device_where_kinds_differ(show: Show) -> None:
    stages = (StagePlan("cpu:0", 0, 1), StagePlan("cuda:0", 1, 1))
    cluster = Cluster((Device("cpu:0", "cpu"), Device("cuda:0", "card")))
    work = Workload(ModelSpec(cut_stack(HIDDEN, HIDDEN, 2)), N_ROWS, N_STEPS)

    def text(core: str) -> str:
        cut = Plan(2, Grid(), stages, core)
        return show(plan_table(Planned(cut, work, cluster, COSTS)))

    assert "core: lean " in text("lean")
    assert "core: fused on cpu, native on cuda" in text("auto")


def test_a_plan_that_uses_all_devices_once_needs_no_further_words(show: Show) -> None:
    text = show(table_of(plan(1, 1), 2))

    assert "idle" not in text
    assert "shared" not in text
    assert "replicas" not in text


def test_devices_without_a_stage_are_named(show: Show) -> None:
    text = show(table_of(plan(1, 1), 4))

    assert "idle, without a stage: cuda:2, cuda:3" in text


def test_replicas_are_counted(show: Show) -> None:
    text = show(table_of(replace(plan(1, 1), data_parallel=2), 4))

    assert "2 replicas of this, each with its share of a batch" in text
    assert "idle" not in text


def test_a_device_of_several_stages_is_named_once(show: Show) -> None:
    shared = plan(1, 1, 1, devices=("cuda:0", "cuda:0", "cuda:1"))
    text = " ".join(show(table_of(shared, 2)).split())

    assert "stages take turns on cuda:0 " in text + " "


def test_the_table_of_a_large_plan_stays_within_80_columns(show: Show) -> None:
    large = replace(plan(*[1] * 64), num_layers=128)
    devices = tuple(Device(f"cuda:{index}", "card") for index in range(80))
    blocks = cut_stack(8192, 8192, 128, 2)
    work = Workload(ModelSpec(blocks), 4096, 1000)
    text = show(plan_table(Planned(large, work, Cluster(devices), AffineCosts(1e3))))

    assert max(map(len, text.splitlines())) <= 80
    # A cell that did not fit would be broken or cut.
    assert text.count("805,404,672") == 64
    assert "…" not in text


def test_what_does_not_fit_is_said_with_what_would_help(show: Show) -> None:
    small = replace(planned(plan(1, 1), 2), cluster=_cards(2**30 + 10_000))

    text = " ".join(show(plan_table(small)).split())

    assert "does not fit: stage 0 needs" in text
    assert "use " in text


def _cards(memory_bytes: int) -> Cluster:
    return Cluster(
        tuple(Device(f"cuda:{index}", "card", memory_bytes=memory_bytes) for index in range(2))
    )


def test_barriers_in_time_are_named_with_what_the_step_would_take_without_them(show: Show) -> None:
    lines = show(table_of(plan(1, 1), 2, h_0=["zeros", "previous"])).splitlines()

    # Forward and backward of 10 and 20 ms on each stage, one after the other.
    text = [line.strip() for line in lines]
    assert "predicted: step 65.0 ms, of which 60.0 ms pipeline; bubble 50.0 %" in text
    assert "barriers in time (whole windows only): stage 1" in text
    assert "without them: pipeline 33.8 ms, bubble 11.1 %" in text


def test_truncation_recomputation_and_second_devices_are_shown(show: Show) -> None:
    stage = StagePlan("cuda:0", 0, 1, "cuda:1")
    cut = Plan(1, Grid(truncate=2, recompute="cell"), (stage,))

    text = show(table_of(cut, 2))

    assert "cuda:0+cuda:1" in text
    assert "gradients of the state cut every 2 chunks" in text
    assert "backward runs forward again, cell by cell (recompute=cell)" in text
    assert "idle" not in text
