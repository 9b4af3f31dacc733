"""The plan's table: what it says of each stage, of the step, and of unusual devices."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rich.table import Table

from gru_parallel.placement import Cluster, Device, Grid, LayerCost, Plan, StagePlan
from gru_parallel.planning import Planned
from gru_parallel.report import plan_table

Show = Callable[[Table], str]

# At 1e9 operations a second: 10 ms forward and 20 ms backward.
BLOCK = LayerCost(
    forward_flops=1e7,
    backward_flops=2e7,
    n_parameters=65_536,
    activation_bytes=3 * 2**20,
)


def table_of(plan: Plan, costs: Sequence[LayerCost], n_devices: int) -> Table:
    devices = tuple(Device(f"cuda:{index}", 1e9) for index in range(n_devices))
    return plan_table(Planned(plan, costs, Cluster(devices)))


def plan(*sizes: int, devices: tuple[str, ...] | None = None, n_chunks: int = 8) -> Plan:
    names = devices or tuple(f"cuda:{stage}" for stage in range(len(sizes)))
    starts = [sum(sizes[:stage]) for stage in range(len(sizes))]
    stages = tuple(map(StagePlan, names, starts, sizes))
    return Plan(2 * sum(sizes), Grid(2, "one_f_one_b", 1, n_chunks), stages)


def test_a_row_names_device_layers_parameters_memory_and_time_of_a_stage(show: Show) -> None:
    lines = show(table_of(plan(1, 2), [BLOCK] * 3, 2)).splitlines()
    rows = [line.split() for line in lines]

    # Weights, gradients and two moments of 65,536 floats are 1 MiB, activations 3 MiB.
    assert ["0", "cuda:0", "0-1", "65,536", "4.00", "MiB", "30.0", "ms"] in rows
    assert ["1", "cuda:1", "2-5", "131,072", "8.00", "MiB", "60.0", "ms"] in rows
    assert ["all", "0-5", "196,608", "12.0", "MiB"] in rows


def test_a_stage_of_one_layer_names_just_that(show: Show) -> None:
    one_layer = Plan(1, Grid(), (StagePlan("cuda:0", 0, 1),))
    rows = [line.split() for line in show(table_of(one_layer, [BLOCK], 1)).splitlines()]

    assert ["0", "cuda:0", "0", "65,536", "4.00", "MiB", "30.0", "ms"] in rows


def test_the_caption_has_the_grid_and_the_predicted_step_and_bubble(show: Show) -> None:
    text = show(table_of(plan(1, 1), [BLOCK] * 2, 2))

    assert "schedule: one_f_one_b, 1 micro-batch x 8 chunks" in text
    # (M*C + S-1) / (M*C) * 30 ms, and (S-1) / (M*C + S-1).
    assert "predicted: step 33.8 ms, bubble 11.1 %" in text


def test_the_caption_has_the_core_by_kind_of_device_where_kinds_differ(show: Show) -> None:
    cut = plan(1, 1, devices=("cpu:0", "cuda:0"))
    cluster = Cluster.of(cut.all_devices)

    def text(*cores: str) -> str:
        return show(plan_table(Planned(cut, [BLOCK] * 2, cluster, cores=cores)))

    assert "core: lean " in text("lean", "lean")
    assert "core: fused on cpu, native on cuda" in text("fused", "native")
    assert "core" not in text()


def test_a_plan_that_uses_all_devices_once_needs_no_further_words(show: Show) -> None:
    text = show(table_of(plan(1, 1), [BLOCK] * 2, 2))

    assert "idle" not in text
    assert "shared" not in text


def test_devices_without_a_stage_are_named(show: Show) -> None:
    text = show(table_of(plan(1, 1), [BLOCK] * 2, 4))

    assert "idle, without a stage: cuda:2, cuda:3" in text


def test_a_device_of_several_stages_is_named_once(show: Show) -> None:
    shared = plan(1, 1, 1, devices=("cuda:0", "cuda:0", "cuda:1"))
    text = " ".join(show(table_of(shared, [BLOCK] * 3, 2)).split())

    assert "as if each stage had its own device; shared: cuda:0 " in text + " "


def test_the_table_of_a_large_plan_stays_within_80_columns(show: Show) -> None:
    large = LayerCost(1e15, 2e15, 123_456_789, 2**40)
    text = show(table_of(plan(*[1] * 64), [large] * 64, 80))

    assert max(map(len, text.splitlines())) <= 80
    # A cell that did not fit would be broken or cut.
    assert text.count("123,456,789") == 64
    assert "…" not in text


def test_barriers_in_time_are_named_with_what_the_step_would_take_without_them(show: Show) -> None:
    barrier = replace(BLOCK, is_barrier=True)

    lines = show(table_of(plan(1, 1), [BLOCK, barrier], 2)).splitlines()

    # Forward and backward of 10 and 20 ms on each stage, one after the other.
    assert "predicted: step 60.0 ms, bubble 50.0 %" in map(str.strip, lines)
    assert "barriers in time (whole windows only): stage 1" in map(str.strip, lines)
    assert "without them: step 33.8 ms, bubble 11.1 %" in map(str.strip, lines)


def test_truncation_recomputation_and_second_devices_are_shown(show: Show) -> None:
    stage = StagePlan("cuda:0", 0, 1, "cuda:1")
    cut = Plan(1, Grid(truncate=2, recompute="cell"), (stage,))

    text = show(table_of(cut, [BLOCK], 2))

    assert "cuda:0+cuda:1" in text
    assert "gradients of the state cut every 2 chunks" in text
    assert "backward runs forward again, cell by cell (recompute=cell)" in text
    assert "idle" not in text
