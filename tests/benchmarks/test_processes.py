from collections.abc import Mapping

import pytest

from benchmarks.process_targets import MIN_SPEEDUP_IN_CHUNKS, judge
from benchmarks.processes import PROCESSES, tables
from benchmarks.same_plan import CHUNKED, PEERS, UNCHUNKED, best_peer, in_threads
from benchmarks.samples import Round, ShapeRun, Step, Turn
from benchmarks.shapes import Shape
from benchmarks.summary import ShapeSummary, summarise
from benchmarks.variants import Variant

SHAPE = Shape(hidden_size=128, batch_size=32, n_steps=96, num_layers=4)
M1, M2, M4 = UNCHUNKED[:3]
PEER_M1, PEER_M2, PEER_M4 = PEERS[:3]
TIMES_MS: Mapping[Variant, float] = {
    in_threads(CHUNKED): 66.0,
    CHUNKED: 60.0,
    M2: 100.0,
    M4: 120.0,
    PEER_M1: 90.0,
    PEER_M2: 96.0,
    PEER_M4: 180.0,
}


def summary(
    changed_ms: Mapping[Variant, float] | None = None, shape: Shape = SHAPE
) -> ShapeSummary:
    times_ms: dict[Variant, float] = {**TIMES_MS, **(changed_ms or {})}
    turns = {variant: Turn((Step(ms, ms),), ms) for variant, ms in times_ms.items()}
    return summarise(ShapeRun(shape, tuple(times_ms), (Round(turns, 0.0, 0.0),), 1))


def test_speed_is_measured_against_the_peer_at_its_best() -> None:
    speedups = {row.name: row.speedup for row in summary().rows}
    assert speedups[CHUNKED.name] == pytest.approx(1.5)
    assert speedups[PEER_M1.name] == 1.0


def test_the_best_peer_may_be_asked_to_overlap() -> None:
    rows = [best_peer(summary(), at_least=least) for least in (1, 2, 8)]
    assert [row and row.name for row in rows] == [PEER_M1.name, PEER_M2.name, None]


def test_without_chunks_the_plan_that_does_worst_decides() -> None:
    same_plan, _ = judge(summary())
    assert same_plan.measured == "0.96 x (gpipe M=2 C=1)"
    assert not same_plan.met
    same_plan, _ = judge(summary({M2: 96.0}))
    assert same_plan.met


def test_in_chunks_the_peer_at_its_best_decides_and_the_best_that_overlaps_is_told() -> None:
    _, chunks = judge(summary())
    assert chunks.measured == f"1.50 x ({PEER_M1.name}); 1.60 x ({PEER_M2.name})"
    assert chunks.met
    _, chunks = judge(summary({PEER_M1: 80.0}))
    assert not chunks.met


def test_a_best_peer_that_overlaps_is_told_once() -> None:
    _, chunks = judge(summary({PEER_M1: 200.0}))
    assert chunks.measured == f"1.60 x ({PEER_M2.name})"


def test_other_shapes_have_no_target_in_chunks() -> None:
    assert len(list(judge(summary(shape=Shape(64, 32, 96, 4))))) == 1


def test_the_shapes_measured_are_those_of_the_targets() -> None:
    assert set(PROCESSES.shapes) == set(MIN_SPEEDUP_IN_CHUNKS)


def test_a_plan_stands_on_one_line_with_what_ran_it() -> None:
    _, plans, targets = tables([summary()])
    assert plans.rows[0] == ("gpipe M=1 C=16", "66.0", "60.0", "", "1.10 (1.10-1.10)", "")
    assert plans.rows[1] == ("gpipe M=2 C=1", "", "100.0", "96.0", "", "0.96 (0.96-0.96)")
    assert [row[-1] for row in targets.rows] == ["MISSED", "met"]


def test_every_plan_without_chunks_has_its_peer_measured() -> None:
    assert len(PEERS) == len(UNCHUNKED)
    assert set(PEERS) < set(PROCESSES.variants)
    assert M1.peer == PEER_M1
