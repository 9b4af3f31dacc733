"""A run that makes no progress says which stage waits for what, and goes on when it can."""

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import lightning.pytorch as pl
import pytest

from gru_parallel.data.windows import WindowDataset
from gru_parallel.engine.workers import QueueChannel
from gru_parallel.ranks import Ranks, Seen
from gru_parallel.ranks.report import Activity
from gru_parallel.schedule import Action, Op
from gru_parallel.stage.stage_pass import StagePass
from gru_parallel.training import stall_watch
from gru_parallel.training.stall_watch import StallWatch
from tests.builders import make_plan
from tests.runs import Run, fit

PLAN = make_plan([2, 2], n_chunks=4)
AFTER_S = 0.15
WITHIN_S = 30.0

pytestmark = pytest.mark.usefixtures("no_thread_left")


class Obstacle:
    """Blocks what runs into it first, until the watch has spoken."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._is_new = True
        self._gone = threading.Event()

    def say(self, line: str) -> None:
        self.said.append(line)
        self._gone.set()

    def block(self) -> None:
        if self._is_new:
            self._is_new = False
            assert self._gone.wait(WITHIN_S)

    def run(self, **options: Any) -> Run:
        return fit(PLAN, callbacks=[StallWatch(AFTER_S, self.say)], max_epochs=1, **options)


@pytest.fixture
def obstacle() -> Obstacle:
    return Obstacle()


def before(
    obstacle: Obstacle, method: Callable[..., Any], is_it: Callable[..., bool]
) -> Callable[..., Any]:
    """Return a method that runs into the obstacle first, where it is called for something."""

    def blocked(owner: Any, *arguments: Any) -> Any:
        if is_it(owner, *arguments):
            obstacle.block()
        return method(owner, *arguments)

    return blocked


def test_a_stage_that_hangs_is_named_and_the_one_that_waits_for_it(
    obstacle: Obstacle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_third_chunk(stage_pass: StagePass, cell: Any, received: Any) -> bool:
        return stage_pass.stage.index == 0 and cell == (0, 2)

    blocked = before(obstacle, StagePass.forward, is_third_chunk)
    monkeypatch.setattr(StagePass, "forward", blocked)
    run = obstacle.run()

    (line,) = obstacle.said
    assert line.startswith("No progress for 0.")
    assert line.endswith(
        " s: stage 0 on cpu:0 ran F of micro-batch 0, chunk 2; stage 1 on cpu:1 waited for the"
        " activations of stage 0, micro-batch 0, chunk 2."
    )
    # It went on where it was.
    assert len(run.losses) == 5


def test_a_hand_over_that_hangs_is_named(
    obstacle: Obstacle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_second_gradient(channel: QueueChannel, action: Action, packets: Any) -> bool:
        return action.op is Op.SEND_B and action.chunk == 2

    blocked = before(obstacle, QueueChannel.send, is_second_gradient)
    monkeypatch.setattr(QueueChannel, "send", blocked)
    obstacle.run()

    (line,) = obstacle.said
    assert line.endswith(
        ": stage 1 on cpu:1 sent stage 0 the gradients of micro-batch 0, chunk 2; stage 0 on cpu:0"
        " waited for the gradients of stage 1, micro-batch 0, chunk 2."
    )


def test_a_stage_that_has_nothing_left_to_do_is_not_waited_for(
    obstacle: Obstacle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_last(stage_pass: StagePass, cell: Any, received: Any) -> bool:
        return stage_pass.stage.index == 0 and cell == (0, 0)

    monkeypatch.setattr(StagePass, "backward", before(obstacle, StagePass.backward, is_last))
    obstacle.run()

    (line,) = obstacle.said
    assert ": stage 0 on cpu:0 ran B of micro-batch 0, chunk 0; " in line
    assert line.endswith("stage 1 on cpu:1 was done.")


def test_data_that_do_not_come_are_named(
    obstacle: Obstacle, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = WindowDataset.__getitems__
    monkeypatch.setattr(WindowDataset, "__getitems__", before(obstacle, fetch, lambda *_: True))
    obstacle.run()

    (line,) = obstacle.said
    assert line.endswith(" s: it waited for a batch from data loading.")


def test_a_callback_that_hangs_is_named(obstacle: Obstacle) -> None:
    class Hangs(pl.Callback):
        def on_train_batch_start(self, *rest: Any) -> None:
            obstacle.block()

    fit(PLAN, callbacks=[StallWatch(AFTER_S, obstacle.say), Hangs()], max_epochs=1)

    (line,) = obstacle.said
    # Not in threading, which tells nothing.
    assert line.endswith(".Obstacle.block.")


def test_a_run_that_makes_progress_says_nothing(obstacle: Obstacle) -> None:
    class Slow(pl.Callback):
        def on_train_batch_end(self, *rest: Any) -> None:
            time.sleep(0.6 * AFTER_S)

    fit(PLAN, callbacks=[StallWatch(2 * AFTER_S, obstacle.say), Slow()], max_epochs=1)

    assert obstacle.said == []


class FakeRanks:
    """What a watch asks of ranks."""

    def __init__(self, rank: int, wait: str | None, others: dict[int, Seen]) -> None:
        self.rank = rank
        self.recorded: list[str] = []
        self._wait = wait
        self._others = others

    def wait_here(self) -> str | None:
        return self._wait

    def others(self) -> dict[int, Seen]:
        return self._others

    def record(self, what: str) -> None:
        self.recorded.append(what)


BUSY = Seen(Activity("stage 1 on cpu:1 ran F of micro-batch 0, chunk 2", False, 0.0), False)
WAITS = Seen(Activity("stage 2 on cpu:2 waited for the activations", True, 0.0), False)
STOPPED = BUSY._replace(has_stopped=True)


def said_by(ranks: FakeRanks, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(stall_watch, "PUBLISHED_WITHIN_S", 0.0)
    watch = StallWatch(1.0, lambda _: None, cast(Ranks, ranks))
    return watch._doing_everywhere("it waited for a batch from data loading", threading.Event())


def test_the_first_rank_tells_of_all_those_first_that_keep_the_others_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranks = FakeRanks(0, "the loss of the step", {1: WAITS, 2: BUSY, 3: STOPPED})

    assert said_by(ranks, monkeypatch).split("; ") == [
        "rank 3 does not respond, last seen while stage 1 on cpu:1 ran F of micro-batch 0, chunk 2",
        "rank 2 was busy: stage 1 on cpu:1 ran F of micro-batch 0, chunk 2",
        "rank 1 was waiting: stage 2 on cpu:2 waited for the activations",
        "rank 0 was waiting: the loss of the step",
    ]
    assert ranks.recorded == []


def test_a_rank_that_waits_for_no_other_tells_them_what_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for rank, said in ((0, "rank 0 was busy: it waited for a batch from data loading"), (1, "")):
        ranks = FakeRanks(rank, None, {})

        assert said_by(ranks, monkeypatch) == said
        assert ranks.recorded == ["it waited for a batch from data loading"]


def test_the_next_rank_speaks_where_the_first_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said_by(FakeRanks(1, "a tensor", {0: BUSY}), monkeypatch) == ""
    said = said_by(FakeRanks(1, "a tensor", {0: STOPPED}), monkeypatch)
    assert said.startswith("rank 0 does not respond")
    assert said.endswith("rank 1 was waiting: a tensor")
