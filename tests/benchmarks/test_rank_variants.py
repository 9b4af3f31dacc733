import pytest

from benchmarks.rank_variants import EngineVariant, PeerVariant, Runner
from benchmarks.shapes import Shape
from gru_parallel.placement import Grid

SHAPE = Shape(hidden_size=8, batch_size=12, n_steps=5, num_layers=4)


def test_an_engine_in_processes_has_a_rank_a_stage() -> None:
    assert EngineVariant(Runner.PROCESSES, "gpipe", 2).n_ranks == 2
    assert EngineVariant(Runner.THREADS, "gpipe", 2).n_ranks == 1


def test_the_peer_of_a_plan_has_its_schedule_and_micro_batches() -> None:
    assert EngineVariant(Runner.PROCESSES, "gpipe", 4).peer == PeerVariant("gpipe", 4)


@pytest.mark.parametrize(
    "variant",
    [
        EngineVariant(Runner.PROCESSES, "gpipe", 1, n_chunks=2),
        EngineVariant(Runner.PROCESSES, "one_f_one_b", 1),
    ],
    ids=lambda variant: variant.name,
)
def test_the_peer_cuts_no_time_and_has_no_1f1b_of_one_micro_batch(variant: EngineVariant) -> None:
    assert variant.peer is None


@pytest.mark.parametrize(("n_micro_batches", "fits"), [(1, True), (4, True), (8, False)])
def test_the_peer_needs_micro_batches_of_one_size(n_micro_batches: int, fits: bool) -> None:
    assert PeerVariant("gpipe", n_micro_batches).fits(SHAPE) is fits
    assert EngineVariant(Runner.PROCESSES, "gpipe", n_micro_batches).fits(SHAPE)


def test_the_plan_of_an_engine_cuts_the_layers_into_even_stages() -> None:
    plan = EngineVariant(Runner.THREADS, "one_f_one_b", 2, 5).plan(SHAPE)
    assert plan.devices == ("cpu:0", "cpu:1")
    assert plan.grid == Grid(1, "one_f_one_b", 2, 5)
    assert [list(plan.stage_layers(stage)) for stage in (0, 1)] == [[0, 1], [2, 3]]
