"""What the engine says it did is what the schedule says it should do."""

from itertools import pairwise

import pytest

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from gru_parallel.schedule import (
    SCHEDULES,
    Schedule,
    Timeline,
    build_schedule,
    forward_only,
    lower,
    needs,
)
from tests.builders import MSE, build_model, make_batch, make_plan
from tests.grids import covering

SHAPES = [((4,), 2, 3), ((2, 2), 1, 4), ((1, 1, 2), 3, 2), ((1, 1, 1, 1), 5, 1)]


def run(
    schedule: str, blocks: tuple[int, ...], n_micro_batches: int, n_chunks: int, *, train: bool
) -> tuple[Timeline, Schedule]:
    """Return what was measured, and the lowered schedule that was to be run."""
    x, y = make_batch()
    plan = make_plan(blocks, schedule, n_micro_batches, n_chunks)
    with ThreadEngine(build_model(), plan, MSE) as engine:
        engine.measure = True
        if train:
            engine.train_step(Windows(x, y))
        else:
            engine.predict(Windows(x))
        assert engine.timeline is not None
    ran = build_schedule(schedule, len(blocks), n_micro_batches, n_chunks)
    return engine.timeline, lower(ran if train else forward_only(ran))


@covering(2, shape=SHAPES, schedule=SCHEDULES, train=[True, False])
def test_every_action_of_the_lowered_lists_ran_once_in_order_and_after_what_it_needs(
    shape: tuple[tuple[int, ...], int, int], schedule: str, train: bool
) -> None:
    blocks, n_micro_batches, n_chunks = shape
    timeline, lowered = run(schedule, blocks, n_micro_batches, n_chunks, train=train)

    by_stage = [
        tuple(event.action for event in timeline.stage_events(stage))
        for stage in range(len(blocks))
    ]
    assert by_stage == list(lowered.actions)
    events = {event.action: event for event in timeline.events}
    assert len(events) == len(timeline.events)
    for action, event in events.items():
        for needed in needs(action, lowered):
            # A receive starts by waiting, so only its end comes after the send's start.
            if action.op.is_receive:
                assert event.end_ms >= events[needed].start_ms
            else:
                assert event.start_ms >= events[needed].end_ms


@pytest.mark.parametrize(("blocks", "n_micro_batches", "n_chunks"), SHAPES)
def test_naive_never_overlaps_two_cells(
    blocks: tuple[int, ...], n_micro_batches: int, n_chunks: int
) -> None:
    timeline, _ = run("naive", blocks, n_micro_batches, n_chunks, train=True)

    work = sorted(
        (event for event in timeline.events if event.action.op.is_compute),
        key=lambda event: event.start_ms,
    )

    assert len(work) == 2 * len(blocks) * n_micro_batches * n_chunks
    for earlier, later in pairwise(work):
        assert later.start_ms >= earlier.end_ms


def test_times_count_from_the_start_of_the_step() -> None:
    for _ in range(2):
        timeline, _ = run("gpipe", (2, 2), 2, 3, train=True)
        first_ms = min(event.start_ms for event in timeline.events)
        assert 0 <= first_ms <= timeline.step_ms + first_ms


def test_the_timeline_is_that_of_the_last_call() -> None:
    x, y = make_batch()
    with ThreadEngine(build_model(), make_plan([2, 2], "gpipe", 2, 3), MSE) as engine:
        before = engine.timeline
        engine.measure = True
        engine.train_step(Windows(x, y))
        trained = engine.timeline
        engine.predict(Windows(x[:1]))
        predicted = engine.timeline
    assert before is None
    assert trained is not None
    assert predicted is not None

    # 2 x 3 cells on 2 stages: F, B, two sends, two receives; then F alone, of one row.
    assert len(trained.events) == 6 * (2 * 2 + 4)
    assert len(predicted.events) == 3 * (2 + 2)
