import pytest

from benchmarks.packed import PACKED
from benchmarks.peers.command import PEERS
from benchmarks.shapes import Shape
from benchmarks.speed import SPEED
from benchmarks.timed import TimedBenchmark
from benchmarks.variants import DropIn, Pipeline, WholeGRU


def test_layers_are_shared_out_evenly_over_two_logical_cpus() -> None:
    plan = Pipeline(n_micro_batches=1, n_chunks=8).plan(Shape(128, 32, 96, 4))
    assert plan.devices == ("cpu:0", "cpu:1")
    assert [list(plan.stage_layers(stage)) for stage in (0, 1)] == [[0, 1], [2, 3]]
    assert (plan.grid.n_micro_batches, plan.grid.n_chunks) == (1, 8)


@pytest.mark.parametrize(("n_cells", "bubble"), [((1, 1), 1 / 2), ((1, 4), 1 / 5), ((2, 3), 1 / 7)])
def test_the_ideal_bubble_of_two_stages_is_one_in_all_cells_and_one(
    n_cells: tuple[int, int], bubble: float
) -> None:
    assert Pipeline(*n_cells).ideal_bubble(Shape(8, 4, 4, 2)) == pytest.approx(bubble)


def test_weights_gradients_of_their_own_fill_a_part_of_the_ideal_bubble() -> None:
    pipeline = Pipeline(1, 4, "zero_bubble")
    assert pipeline.ideal_bubble(Shape(8, 4, 4, 2)) == pytest.approx(1 / 7)
    assert pipeline.name == "pipeline zero_bubble M=1 C=4"


def test_a_pipeline_fits_a_shape_that_fills_all_its_cells() -> None:
    shape = Shape(hidden_size=8, batch_size=2, n_steps=4, num_layers=2)
    assert Pipeline(2, 4).fits(shape)
    assert not Pipeline(3, 4).fits(shape)
    assert not Pipeline(2, 5).fits(shape)
    assert WholeGRU(2).fits(shape)


def test_the_drop_in_has_a_device_a_layer_or_stays_in_its_thread() -> None:
    assert DropIn(1, 8).device_map(4) == ["cpu:0", "cpu:0", "cpu:1", "cpu:1"]
    assert DropIn(1, 8, in_thread=True).device_map(4) is None


@pytest.mark.parametrize("benchmark", [SPEED, PACKED, PEERS], ids=lambda benchmark: benchmark.name)
def test_names_tell_all_variants_apart(benchmark: TimedBenchmark) -> None:
    assert len({variant.name for variant in benchmark.variants}) == len(benchmark.variants)


@pytest.mark.parametrize("benchmark", [SPEED, PEERS], ids=lambda benchmark: benchmark.name)
def test_the_quick_run_measures_a_part_of_the_full_one_and_all_of_it_fits(
    benchmark: TimedBenchmark,
) -> None:
    assert set(benchmark.quick_variants) < set(benchmark.variants)
    assert all(variant.fits(benchmark.quick_shape) for variant in benchmark.quick_variants)
