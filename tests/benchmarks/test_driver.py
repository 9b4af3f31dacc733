import pytest

from benchmarks.driver import Limits, go_on, rotated, sharing, undisturbed
from benchmarks.peers.variants import EngineVariant, Runner, TorchPipelining
from benchmarks.variants import WholeGRU
from tests.benchmarks.rounds import a_round


def test_rounds_that_lost_more_than_two_percent_to_steal_are_left_out() -> None:
    rounds = [a_round(stolen=stolen) for stolen in (0.0, 0.02, 0.021, 0.5)]
    assert undisturbed(rounds) == tuple(rounds[:2])


def test_no_round_is_left_out_where_steal_is_unknown() -> None:
    rounds = [a_round(stolen=None)]
    assert undisturbed(rounds) == tuple(rounds)


def test_each_round_begins_with_another_variant_and_keeps_the_circle() -> None:
    assert [rotated("abc", places) for places in range(4)] == [
        ("a", "b", "c"),
        ("b", "c", "a"),
        ("c", "a", "b"),
        ("a", "b", "c"),
    ]


def test_plans_of_one_system_share_processes_and_others_do_not() -> None:
    threads, processes = (EngineVariant(runner, "gpipe", 2) for runner in Runner)
    more_threads, more_processes = (EngineVariant(runner, "gpipe", 4) for runner in Runner)
    fused = EngineVariant(Runner.THREADS, "gpipe", 2, core="fused")
    peer = TorchPipelining("gpipe", 2)
    variants = (WholeGRU(1), WholeGRU(2), threads, processes, peer, fused)
    groups = [
        (WholeGRU(1),),
        (WholeGRU(2),),
        (threads, more_threads),
        (processes, more_processes),
        (peer,),
        (fused,),
    ]
    variants = (*variants, more_threads, more_processes)
    assert sharing(variants) == groups


@pytest.mark.parametrize(
    ("stolen", "elapsed_s", "more"),
    [
        ((0.0,), 10.0, True),
        ((0.0, 0.0), 20.0, False),
        ((0.0, 0.1, 0.1), 30.0, True),
        ((0.1, 0.1, 0.1, 0.1), 40.0, False),
        ((0.0,), 88.0, True),
        ((0.0,), 90.0, False),
    ],
)
def test_rounds_go_on_until_enough_are_undisturbed_or_a_bound_is_reached(
    stolen: tuple[float, ...], elapsed_s: float, more: bool
) -> None:
    limits = Limits(n_rounds=2, max_rounds=4, n_steps=1, seconds=100.0)
    rounds = [a_round(stolen=share) for share in stolen]
    assert go_on(rounds, limits, elapsed_s, in_rounds_s=11.0 * len(rounds)) is more
