from benchmarks.peers.choose import fastest_of_each
from tests.benchmarks.peers_rounds import (
    FUSED,
    PEER_M1,
    PEER_M2,
    PEER_M4,
    PROCESSES,
    PROCESSES_M1,
    PROCESSES_M2,
    PROCESSES_M4,
    THREADS,
    a_round,
)

TRIED = a_round(
    {
        PEER_M1: 130.0,
        PEER_M2: 120.0,
        PEER_M4: 125.0,
        THREADS: 60.0,
        FUSED: 70.0,
        PROCESSES_M1: 128.0,
        PROCESSES_M2: 121.0,
        PROCESSES_M4: 500.0,
        PROCESSES: 61.0,
    }
)


def test_the_fastest_plan_of_each_system_and_core_goes_on_with_the_peers_plan_in_processes() -> (
    None
):
    assert fastest_of_each(TRIED, 1) == (PEER_M2, THREADS, FUSED, PROCESSES_M2, PROCESSES)


def test_more_plans_go_on_if_asked_for() -> None:
    chosen = fastest_of_each(TRIED, 2)
    assert set(TRIED.turns) - set(chosen) == {PEER_M1, PROCESSES_M1}
    assert set(fastest_of_each(TRIED, 20)) == set(TRIED.turns)
