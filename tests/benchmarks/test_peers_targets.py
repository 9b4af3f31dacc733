import pytest

from benchmarks.peers.shapes import SHAPES
from benchmarks.peers.targets import WANTED, judge
from benchmarks.shapes import Shape
from benchmarks.variant import Variant
from benchmarks.variants import WholeGRU
from tests.benchmarks.peers_rounds import (
    EARLIER,
    FUSED,
    PEER_M1,
    PEER_M2,
    PROCESSES,
    PROCESSES_M1,
    PROCESSES_M2,
    summary,
)


def test_each_system_is_judged_by_its_fastest_plan() -> None:
    measured = [verdict.measured for verdict in judge(summary({EARLIER: 62.5}))]
    assert measured == [
        "1.92 x (threads fused gpipe M=1 C=8, nn.GRU 2 threads)",
        "2.40 x (threads fused gpipe M=1 C=8, torch pipelining gpipe M=2)",
        "1.25 x (threads fused gpipe M=1 C=8, threads of abc1234 gpipe M=1 C=16)",
        "0.96 x (processes gpipe M=1 C=16, threads fused gpipe M=1 C=8)",
        "0.96 x (processes gpipe M=2, torch pipelining gpipe M=2)",
    ]


@pytest.mark.parametrize(
    ("place", "slower"),
    [
        (0, {WholeGRU(2): 79.0}),
        (1, {PEER_M2: 99.0}),
        (2, {EARLIER: 62.0}),
        (3, {PROCESSES: 53.0}),
        (4, {PROCESSES_M2: 121.0}),
    ],
)
def test_a_number_on_the_wrong_side_of_its_limit_misses_that_target_alone(
    place: int, slower: dict[Variant, float]
) -> None:
    times_ms = {EARLIER: 62.5, PROCESSES_M2: 119.0, **slower}
    if place == 1:
        times_ms[PROCESSES_M2] = 98.0
    verdicts = list(judge(summary(times_ms)))
    assert [verdict.met for verdict in verdicts] == [index != place for index in range(5)]


def test_without_chunks_the_plan_that_does_worst_decides() -> None:
    *_, same_plan = judge(summary({PROCESSES_M1: 160.0, PROCESSES_M2: 120.0}))
    assert same_plan.measured == f"0.81 x ({PROCESSES_M1.name}, {PEER_M1.name})"


def test_other_shapes_have_no_target() -> None:
    assert not list(judge(summary(shape=Shape(64, 32, 96, 4))))


def test_a_build_that_was_not_measured_is_not_judged() -> None:
    assert len(list(judge(summary()))) == 4


def test_the_shapes_of_the_targets_come_first() -> None:
    assert set(list(SHAPES.values())[: len(WANTED)]) == set(WANTED)


def test_the_fused_core_is_not_needed_to_be_judged() -> None:
    first, *_ = judge(summary({FUSED: 70.0}))
    assert first.measured == "1.60 x (threads gpipe M=1 C=16, nn.GRU 2 threads)"
    assert first.met
