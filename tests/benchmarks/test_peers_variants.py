import pytest

from benchmarks.peers.build import Build
from benchmarks.peers.variants import EngineVariant, Runner, TorchPipelining
from benchmarks.shapes import Shape
from gru_parallel.placement import Grid

SHAPE = Shape(hidden_size=8, batch_size=12, n_steps=5, num_layers=4)


def test_an_engine_in_processes_has_a_rank_a_stage() -> None:
    assert EngineVariant(Runner.PROCESSES, "gpipe", 2).n_ranks == 2
    assert EngineVariant(Runner.THREADS, "gpipe", 2).n_ranks == 1


def test_a_plan_is_called_the_same_whoever_runs_it() -> None:
    for runner in Runner:
        assert EngineVariant(runner, "gpipe", 4).plan_name == TorchPipelining("gpipe", 4).plan_name


def test_a_system_is_called_by_engine_build_core_and_what_it_recomputes() -> None:
    build = Build("abc1234", "anywhere")
    variant = EngineVariant(Runner.THREADS, "gpipe", 1, 4, "lean", "cell", build)
    assert variant.system == "threads of abc1234 lean recompute=cell"
    assert variant.name == f"{variant.system} gpipe M=1 C=4"
    assert variant.import_from == "anywhere"


def test_the_peer_has_no_1f1b_of_one_micro_batch() -> None:
    assert not TorchPipelining("one_f_one_b", 1).fits(SHAPE)
    assert TorchPipelining("one_f_one_b", 2).fits(SHAPE)


@pytest.mark.parametrize(("n_micro_batches", "fits"), [(1, True), (4, True), (8, False)])
def test_the_peer_needs_micro_batches_of_one_size(n_micro_batches: int, fits: bool) -> None:
    assert TorchPipelining("gpipe", n_micro_batches).fits(SHAPE) is fits
    assert EngineVariant(Runner.PROCESSES, "gpipe", n_micro_batches).fits(SHAPE)


def test_the_plan_of_an_engine_cuts_the_layers_into_even_stages() -> None:
    plan = EngineVariant(Runner.THREADS, "one_f_one_b", 2, 5).plan(SHAPE)
    assert plan.devices == ("cpu:0", "cpu:1")
    assert plan.grid == Grid(1, "one_f_one_b", 2, 5)
    assert [list(plan.stage_layers(stage)) for stage in (0, 1)] == [[0, 1], [2, 3]]
