"""What the tests of schedules share: schedules written as text, and time drawn as a grid."""

from collections.abc import Callable

import pytest

from gru_parallel.schedule import Action, Schedule, build_schedule, simulate
from tests.schedule.slots import draw_slots


@pytest.fixture
def read_schedule() -> Callable[..., Schedule]:
    """Read a schedule from one line of actions a stage; the grid is as large as its cells."""

    def read(*lines: str, one_at_a_time: bool = False) -> Schedule:
        actions = tuple(tuple(Action.parse(text) for text in line.split()) for line in lines)
        return Schedule(
            name="written",
            n_stages=len(lines),
            n_micro_batches=1 + max(a.micro_batch for stage in actions for a in stage),
            n_chunks=1 + max(a.chunk for stage in actions for a in stage),
            actions=actions,
            one_at_a_time=one_at_a_time,
        )

    return read


@pytest.fixture
def draw() -> Callable[[str, int, int, int], str]:
    """Draw a schedule of (name, n_stages, n_micro_batches, n_chunks), every action one slot."""

    def draw_built(name: str, n_stages: int, n_micro_batches: int, n_chunks: int) -> str:
        schedule = build_schedule(name, n_stages, n_micro_batches, n_chunks)
        return draw_slots(simulate(schedule, lambda _: 1.0))

    return draw_built
