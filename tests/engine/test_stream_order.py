"""On several accelerators, nothing that calls replay is read or written out of turn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from gru_parallel.placement import Grid, Plan, StagePlan
from gru_parallel.stage.lane import StreamLane
from tests.builders import MSE, build_model, make_batch
from tests.engine.stream_order import StreamOrder
from tests.grids import covering

MAPS = ((0, 1), (0, 1, 0), (0, 1, 1), (0, 0))
"""For each stage an accelerator."""

SCHEDULES = ("gpipe", "one_f_one_b", "zero_bubble")


def engine_on(places: tuple[int, ...], schedule: str, **model: Any) -> ThreadEngine:
    core = "fused" if schedule == "zero_bubble" else "native"
    n_stages = len(places)
    built = build_model(n_stages, 1, core=core, dtype=torch.float32, **model)
    stages = tuple(StagePlan(f"cpu:{index}", index, 1) for index in range(n_stages))
    return ThreadEngine(built, Plan(n_stages, Grid(1, schedule, 2, 2), stages), MSE, graphs=True)


def batch() -> Windows:
    x, y = make_batch(n_steps=4)
    return Windows(x.float(), y.float())


@covering(1, places=MAPS, schedule=SCHEDULES)
def test_training_steps_are_in_order(
    places: tuple[int, ...], schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = StreamOrder(monkeypatch, places)
    with engine_on(places, schedule, dropout=0.3) as engine:
        for step in range(4):
            if step == 2:
                order.forget(engine)
            engine.train_step(batch(), step).backward()
            order.call("the optimiser", engine)
        assert engine.why_not_replayed is None

    assert {"a replay", "a copy", "a mask", "gradients", "the optimiser"} <= {
        work.name for work in order.work
    }
    assert order.races() == set()


@pytest.mark.parametrize("places", MAPS, ids=str)
def test_predictions_one_after_the_other_are_in_order(
    places: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = StreamOrder(monkeypatch, places)
    with engine_on(places, "gpipe") as engine:
        for number in range(5):
            if number == 2:
                order.forget(engine)
            engine.predict(batch())
        assert engine.why_not_replayed is None

    assert order.races() == set()


def test_a_race_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the tests above honest: without a wait for copies there is one."""
    order = StreamOrder(monkeypatch, (0, 1))

    def begin(lane: StreamLane, callers: Any) -> None:
        lane._callers, lane._up_to_date = callers, set()
        lane.compute.wait_stream(callers[lane.device])

    monkeypatch.setattr(StreamLane, "begin", begin)
    with engine_on((0, 1), "gpipe") as engine:
        for number in range(5):
            if number == 2:
                order.forget(engine)
            engine.predict(batch())

    assert any("a copy on" in race and "a replay on" in race for race in order.races())


def test_a_copy_to_another_accelerator_does_not_wait_for_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = StreamOrder(monkeypatch, (0, 1))
    with engine_on((0, 1), "gpipe") as engine:
        for step in range(3):
            engine.train_step(batch(), step).backward()
        assert engine.why_not_replayed is None

    for lane, other in (order.lanes, order.lanes[::-1]):
        copies = order.streams[lane.copies.name]
        assert lane.compute.name in copies.waits_for_events
        assert other.compute.name not in copies.waits | copies.waits_for_events
        assert lane.copies.name not in order.streams[other.compute.name].waits


def test_replays_make_no_events_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    order = StreamOrder(monkeypatch, (0, 1))
    with engine_on((0, 1), "gpipe") as engine:
        for step in range(4):
            made = order.n_events
            engine.train_step(batch(), step).backward()
        assert engine.why_not_replayed is None

    # They stand for other work at each step.
    assert order.n_events == made > 0
