"""The analytic costs against what was measured, and what has to hold for any sizes."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gru_parallel.errors import UsageError
from gru_parallel.placement import (
    Cluster,
    Device,
    Grid,
    Link,
    ModelSpec,
    Plan,
    StagePlan,
    cut_stack,
)
from gru_parallel.placement.cards import SPEEDS
from gru_parallel.planning.analytic import NUMBER_TYPES, ON_CPU, AnalyticCosts
from gru_parallel.planning.cell_costs import (
    CellTimes,
    CostModel,
    LayerKind,
    LinearKind,
    Workload,
)
from gru_parallel.planning.planned import Planned

CPU = Device("cpu:0", "cpu")
H200 = Device("cuda:0", "h200", speed=SPEEDS["h200"])
CLUSTER = Cluster((CPU, H200, replace(H200, name="cuda:1")), inside=Link(0.01, 1e11))


def costs(number: str = "tf32", **options: Any) -> AnalyticCosts:
    return AnalyticCosts(CLUSTER, number, **options)


def layer(
    model: CostModel,
    device: Device,
    hidden_size: int,
    rows: float,
    steps: float,
    core: str = "native",
    **options: Any,
) -> CellTimes:
    kind = LayerKind(hidden_size, hidden_size, core=core, **options)
    return model.layer(kind, device, rows, steps, 1)


def all_ms(times: CellTimes) -> float:
    return times.forward_ms + times.joint_ms


def within(found: float, measured: float, factor: float) -> bool:
    return measured / factor <= found <= measured * factor


# On one H200, 64 rows, F and B of a training step, in CUDA graphs and eager (docs/gpus.md and notes
# of 2026-11-27): two layers on a chunk, in ms.
TWO_LAYERS: list[tuple[str, int, int, float, float]] = [
    ("tf32", 32, 128, 0.27, 1.57),
    ("tf32", 32, 256, 0.90, 3.44),
    ("tf32", 32, 512, 1.39, 3.79),
    ("tf32", 32, 1024, 2.44, 4.66),
    ("tf32", 128, 128, 0.89, 1.45),
    ("tf32", 128, 256, 3.38, 9.50),
    ("tf32", 128, 512, 5.03, 11.04),
    ("tf32", 128, 1024, 8.47, 10.54),
    ("bfloat16", 32, 128, 0.45, 4.78),
    ("bfloat16", 32, 256, 0.56, 3.80),
    ("bfloat16", 32, 512, 0.75, 4.66),
    ("bfloat16", 32, 1024, 1.13, 5.54),
    ("bfloat16", 128, 128, 1.79, 12.72),
    ("bfloat16", 128, 256, 2.13, 10.95),
    ("bfloat16", 128, 512, 2.68, 11.83),
    ("bfloat16", 128, 1024, 3.78, 13.12),
]


@pytest.mark.parametrize(("number", "steps", "hidden_size", "in_graph_ms", "eager_ms"), TWO_LAYERS)
def test_two_layers_on_a_gpu_are_within_a_third_of_what_was_measured(
    number: str, steps: int, hidden_size: int, in_graph_ms: float, eager_ms: float
) -> None:
    in_graph = 2 * all_ms(layer(costs(number), H200, hidden_size, 64, steps))
    eager = 2 * all_ms(layer(costs(number, graphs=False), H200, hidden_size, 64, steps))

    assert within(in_graph, in_graph_ms, 1.35)
    assert within(eager, eager_ms, 1.6)


@pytest.mark.parametrize(
    ("number", "hidden_size", "n_chunks", "measured_ms"),
    [
        ("tf32", 256, 1, 29.0),
        ("tf32", 512, 1, 48.1),
        ("tf32", 256, 8, 31.4),
        ("tf32", 512, 8, 54.6),
        ("bfloat16", 256, 1, 21.4),
        ("bfloat16", 512, 1, 29.9),
        ("bfloat16", 256, 8, 24.6),
        ("bfloat16", 512, 8, 33.2),
    ],
)
def test_eight_layers_in_one_graph_are_within_a_factor_of_1_6(
    number: str, hidden_size: int, n_chunks: int, measured_ms: float
) -> None:
    """They overlap in one call of cuDNN, which costs by layer cannot know: they are too high."""
    each = layer(costs(number), H200, hidden_size, 64, 512 // n_chunks)

    found = 8 * n_chunks * all_ms(each)

    assert within(found, measured_ms, 1.6)
    assert found > measured_ms


@pytest.mark.parametrize(
    ("number", "hidden_size", "measured_ms"),
    [("tf32", 256, 130), ("tf32", 512, 167), ("tf32", 1024, 154), ("bfloat16", 256, 152)],
)
def test_eight_layers_without_a_graph_take_what_the_host_takes(
    number: str, hidden_size: int, measured_ms: float
) -> None:
    each = layer(costs(number, graphs=False), H200, hidden_size, 64, 512)

    assert within(8 * all_ms(each), measured_ms, 1.3)


# CPU times of F, B and W of four layers on one thread, uncut and in chunks of 6 steps: the cells
# benchmark of 2026-11-27 on an AMD EPYC (benchmarks/README.md). Hidden size, rows, steps; ms.
CELLS: dict[tuple[int, int, int], dict[str, tuple[float, float]]] = {
    (64, 32, 96): {"native": (100.2, 112.8), "fused": (52.4, 71.4), "lean": (63.9, 88.4)},
    (128, 32, 96): {"native": (201.4, 216.3), "fused": (137.9, 164.7), "lean": (183.4, 206.4)},
    (256, 32, 96): {"native": (545.6, 585.9), "fused": (474.6, 519.5), "lean": (632.8, 665.4)},
    (256, 64, 96): {"native": (957.4, 975.8), "fused": (889.8, 932.9), "lean": (1348, 1223.7)},
    (512, 64, 48): {"native": (1735.7, 1787.9), "fused": (1643.2, 1734.5), "lean": (2159.6, 2201)},
    (128, 4, 512): {"native": (461.6, 562.8), "fused": (139.9, 296.8), "lean": (170.5, 355.6)},
}


@pytest.mark.parametrize("core", ON_CPU)
@pytest.mark.parametrize("shape", CELLS, ids=str)
def test_cells_on_a_cpu_are_within_a_third_of_what_was_measured(
    shape: tuple[int, int, int], core: str
) -> None:
    hidden_size, rows, n_steps = shape
    uncut_ms, in_chunks_ms = CELLS[shape][core]
    n_chunks = math.ceil(n_steps / 6)

    uncut = layer(costs(), CPU, hidden_size, rows, n_steps, core)
    chunk = layer(costs(), CPU, hidden_size, rows, n_steps / n_chunks, core)

    assert within(4 * all_ms(uncut), uncut_ms, 1.35)
    assert within(4 * n_chunks * all_ms(chunk), in_chunks_ms, 1.35)


# Steps of the threads engine on two cores, which nothing here was fitted to: the peers benchmark of
# 2026-11-27 (benchmarks/README.md). Shape, core, schedule, micro-batches, chunks; ms.
PIPELINES: list[tuple[tuple[int, int, int], str, str, int, int, float]] = [
    ((128, 32, 96), "native", "gpipe", 1, 8, 148.1),
    ((128, 32, 96), "native", "gpipe", 1, 16, 145.2),
    ((128, 32, 96), "fused", "gpipe", 1, 8, 114.3),
    ((128, 32, 96), "lean", "gpipe", 1, 8, 145.8),
    ((128, 32, 96), "lean", "zero_bubble", 1, 4, 155.2),
    ((128, 32, 96), "fused", "one_f_one_b", 4, 1, 141.3),
    ((256, 64, 96), "native", "gpipe", 1, 4, 711.6),
    ((256, 64, 96), "native", "gpipe", 1, 8, 607.6),
    ((256, 64, 96), "lean", "zero_bubble", 1, 8, 764.0),
    ((256, 64, 96), "lean", "zero_bubble", 1, 16, 846.2),
    ((256, 64, 96), "fused", "gpipe", 2, 4, 599.8),
    ((256, 64, 96), "fused", "gpipe", 2, 8, 682.7),
    ((128, 4, 512), "native", "gpipe", 1, 8, 283.5),
    ((128, 4, 512), "native", "gpipe", 1, 16, 294.6),
    ((128, 4, 512), "fused", "gpipe", 1, 8, 106.8),
    ((128, 4, 512), "lean", "gpipe", 1, 16, 137.7),
    ((128, 4, 512), "fused", "zero_bubble", 1, 8, 105.3),
    ((128, 4, 512), "lean", "zero_bubble", 1, 8, 132.4),
]


def pipeline_ms(
    shape: tuple[int, int, int], core: str, schedule: str, n_micro_batches: int, n_chunks: int
) -> float:
    hidden_size, rows, n_steps = shape
    model = ModelSpec(cut_stack(hidden_size, hidden_size, 4), n_outputs=1, core=core)
    stages = (StagePlan("cpu:0", 0, 2), StagePlan("cpu:1", 2, 2))
    plan = Plan(4, Grid(1, schedule, n_micro_batches, n_chunks), stages, core)
    cluster = Cluster.of(["cpu:0", "cpu:1"])
    workload = Workload(model, rows, n_steps)
    return Planned(plan, workload, cluster, AnalyticCosts(cluster)).timeline.step_ms


def test_pipelines_on_two_cores_are_within_a_fifth_of_what_was_measured() -> None:
    errors = [abs(pipeline_ms(*case) / measured_ms - 1) for *case, measured_ms in PIPELINES]

    assert max(errors) < 0.2
    assert sorted(errors)[len(errors) // 2] < 0.1


def test_16_micro_batches_cost_far_more_than_16_chunks() -> None:
    """Measured with nn.GRU on one thread: 6.8 and 1.27 times the uncut time."""
    uncut, by_rows, by_steps = (
        all_ms(layer(costs(), CPU, 128, rows, steps))
        for rows, steps in ((32, 128), (2, 128), (32, 8))
    )

    assert within(16 * by_rows / uncut, 6.8, 1.2)
    assert within(16 * by_steps / uncut, 1.27, 1.25)


def test_a_tiny_layer_on_a_gpu_still_takes_its_steps() -> None:
    """Eight of them were predicted to take 4e-6 ms, by their arithmetic alone."""
    assert all_ms(layer(costs(), H200, 4, 64, 48)) > 48 * 0.003


def test_weights_that_fit_no_cache_are_read_at_every_step() -> None:
    # 3 x 8,192 x 8,192 numbers of 2 bytes, at 4.8 TB/s.
    read_ms = 1e3 * 3 * 8192**2 * 2 / 4.8e12
    steps = 10

    found = layer(costs("bfloat16"), H200, 8192, 1, steps)

    assert found.forward_ms > steps * read_ms
    assert layer(costs("bfloat16"), H200, 1024, 1, steps).forward_ms < steps * read_ms / 5


@pytest.mark.parametrize("core", ON_CPU)
@pytest.mark.parametrize("device", [CPU, H200], ids=lambda device: device.kind)
@pytest.mark.parametrize("graphs", [True, False])
@given(
    hidden_size=st.integers(1, 4096),
    rows=st.integers(1, 512),
    steps=st.integers(1, 512),
    number=st.sampled_from(list(NUMBER_TYPES)),
    more=st.sampled_from(["hidden_size", "rows", "steps", "input_size"]),
    by=st.integers(1, 1000),
)
def test_more_of_anything_takes_no_less(
    core: str,
    device: Device,
    graphs: bool,
    hidden_size: int,
    rows: int,
    steps: int,
    number: str,
    more: str,
    by: int,
) -> None:
    model = costs(number, graphs=graphs)
    sizes = {"hidden_size": hidden_size, "input_size": 8, "rows": rows, "steps": steps}

    def times(sizes: dict[str, int]) -> CellTimes:
        kind = LayerKind(sizes["input_size"], sizes["hidden_size"], core=core)
        return model.layer(kind, device, sizes["rows"], sizes["steps"], 1)

    less, greater = times(sizes), times({**sizes, more: sizes[more] + by})

    assert all(one <= other for one, other in zip(less, greater, strict=True))
    assert less.forward_ms > 0
    assert less.joint_ms >= less.backward_ms


@pytest.mark.parametrize("core", ["fused", "lean"])
def test_w_apart_and_within_b_take_as_long(core: str) -> None:
    found = layer(costs(), CPU, 64, 8, 16, core)

    assert found.joint_ms == pytest.approx(found.backward_ms + found.weights_ms)
    assert found.weights_ms > 0


def test_a_core_that_cannot_leave_w_for_later_has_it_in_b() -> None:
    found = layer(costs(), CPU, 64, 8, 16, "native")

    assert (found.weights_ms, found.backward_ms) == (0, found.joint_ms)


def test_f_is_two_fifths_of_a_step_with_the_fused_core() -> None:
    found = layer(costs(), CPU, 64, 8, 100, "fused")

    assert found.forward_ms / all_ms(found) == pytest.approx(0.4, abs=0.05)


def test_a_bidirectional_layer_takes_twice_as_long() -> None:
    one, both = (layer(costs(), CPU, 64, 8, 16, bidirectional=both) for both in (False, True))

    assert both == one.times(2)


def test_dropout_takes_time_and_stages_on_one_cpu_slow_each_other() -> None:
    plain, dropped = (layer(costs(), CPU, 64, 8, 16, has_dropout=drops) for drops in (False, True))
    assert dropped.forward_ms > plain.forward_ms

    kind = LayerKind(64, 64)
    alone, beside, crowded = (costs().layer(kind, CPU, 8, 16, n).forward_ms for n in (1, 2, 8))
    assert beside == pytest.approx(1.18 * alone)
    assert beside < crowded < 1.36 * alone


def test_types_of_16_bits_are_faster_on_a_gpu_and_float64_slower_anywhere() -> None:
    def ms(number: str, device: Device) -> float:
        return all_ms(layer(costs(number), device, 512, 64, 64))

    assert ms("bfloat16", H200) < ms("tf32", H200) < ms("float32", H200) < ms("float64", H200)
    assert ms("tf32", CPU) == ms("float32", CPU) < ms("float64", CPU)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(UsageError, match="number=int8 is not a type of number; use one of tf32"):
        costs("int8")


ENCODER = LinearKind(8, 64, every_step=True, is_head=False)
HEAD = LinearKind(64, 8, every_step=False, is_head=True)


def test_an_encoder_has_no_gradient_of_its_input() -> None:
    found = costs().linear(ENCODER, CPU, 8, 16, 1)

    assert found.backward_ms == 0
    assert found.joint_ms == found.weights_ms > 0


def test_a_head_at_the_end_of_the_window_does_not_grow_with_the_window() -> None:
    short, long = (costs().linear(HEAD, CPU, 8, steps, 1) for steps in (16, 1600))
    every = replace(HEAD, every_step=True)

    assert short == long
    assert all_ms(costs().linear(every, CPU, 8, 1600, 1)) > 2 * all_ms(long)


def test_a_stage_takes_some_time_around_its_cells() -> None:
    on_cpu, on_gpu = (all_ms(costs().around(device, 1)) for device in (CPU, H200))

    assert on_cpu == pytest.approx(0.05, abs=0.01)
    assert 0 < on_gpu < on_cpu


def test_hand_overs_are_those_of_the_cluster() -> None:
    assert costs().link(*CLUSTER.devices[1:]) == CLUSTER.inside


def test_a_step_takes_its_start_and_the_optimisers_pass_over_its_numbers() -> None:
    model = costs(n_weight_copies=4, bytes_per_number=4)

    assert model.step_ms(CPU, 0) == pytest.approx(0.5)
    # Weight, gradient and two moments are read, all but the gradient written: 28 bytes.
    assert model.step_ms(CPU, 10**7) == pytest.approx(0.5 + 1e3 * 28e7 / 1e10)
    assert model.step_ms(H200, 10**7) < model.step_ms(CPU, 10**7) / 10


def test_the_source_says_that_nothing_was_measured() -> None:
    assert costs().source == "analytic"
