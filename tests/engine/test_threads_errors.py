"""An error ends the step on all stages at once, says where, and leaves a working engine."""

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.errors import ShapeError
from gru_parallel.model import StackModel, SumLoss, Windows
from gru_parallel.schedule import SCHEDULES, Cell
from tests.builders import MSE, build_model, gradients_of, make_batch, make_plan
from tests.engine.patches import WAIT_S, before_each_cell, failing_backward, failing_forward
from tests.grids import covering

# A hang is the failure that most of these tests look for.
pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_left")]

M, C = 3, 4
FailAt = Callable[[StackModel, int, Cell, BaseException], AbstractContextManager[None]]


class Broken(Exception):
    """What the tests break blocks with."""


def make_engine(schedule: str, blocks: tuple[int, ...] = (1, 1, 2)) -> ThreadEngine:
    return ThreadEngine(build_model(), make_plan(blocks, schedule, M, C), MSE)


def gradients_after_a_step(engine: ThreadEngine) -> dict[str, Tensor | None]:
    engine.model.zero_grad()
    engine.train_step(Windows(*make_batch())).backward()
    return gradients_of(engine.model)


def assert_works_as_new(engine: ThreadEngine) -> None:
    """The next step gives what an engine that never failed gives, to the bit."""
    with ThreadEngine(build_model(), engine.plan, MSE) as fresh:
        expected = gradients_after_a_step(fresh)
    for name, gradient in gradients_after_a_step(engine).items():
        wanted = expected[name]
        assert gradient is not None
        assert wanted is not None
        assert torch.equal(gradient, wanted), name


FAILING: dict[str, FailAt] = {"F": failing_forward, "B": failing_backward}
BLOCK_OF_STAGE = (0, 1, 3)


@covering(1, op=FAILING, stage=range(3), cell=[(0, 0), (1, 2), (2, 3)], schedule=sorted(SCHEDULES))
def test_the_caller_gets_the_original_error_and_where_it_came_from(
    schedule: str, cell: Cell, stage: int, op: str
) -> None:
    error = Broken("by hand")
    with make_engine(schedule) as engine:
        fails = FAILING[op](engine.model, BLOCK_OF_STAGE[stage], cell, error)
        with fails, pytest.raises(Broken) as caught:
            engine.train_step(Windows(*make_batch()))

        assert caught.value is error
        micro_batch, chunk = cell
        assert error.__notes__ == [
            f"while stage {stage} on cpu:{stage} ran {stage}{op}{micro_batch}.{chunk}"
            f" (micro-batch {micro_batch}, chunk {chunk})"
        ]
        assert_works_as_new(engine)


def test_an_error_in_a_prediction_is_the_same() -> None:
    error = Broken("by hand")
    x, _ = make_batch()
    with make_engine("gpipe") as engine:
        expected = engine.predict(Windows(x))
        with failing_forward(engine.model, 1, (1, 2), error), pytest.raises(Broken) as caught:
            engine.predict(Windows(x))

        assert caught.value is error
        assert "stage 1 on cpu:1 ran 1F1.2" in error.__notes__[0]
        assert torch.equal(engine.predict(Windows(x)), expected)


def test_an_error_in_the_loss_names_the_last_stage() -> None:
    def fail(prediction: Tensor, target: Tensor) -> Tensor:
        raise Broken("by hand")

    engine = ThreadEngine(
        build_model(), make_plan([2, 2], "gpipe", M, C), SumLoss("broken", fail, Tensor.numel)
    )
    with engine, pytest.raises(Broken) as caught:
        engine.train_step(Windows(*make_batch()))

    # The head that reads the last step only has its first loss in the last chunk.
    assert "stage 1 on cpu:1 ran 1F0.3" in caught.value.__notes__[0]


def test_targets_of_another_shape_are_an_error_of_the_last_stage() -> None:
    x, y = make_batch()
    with make_engine("one_f_one_b") as engine:
        with pytest.raises(ShapeError) as caught:
            engine.train_step(Windows(x, y[:, :2]))
        assert "stage 2 on cpu:2 ran 2F0.3" in caught.value.__notes__[0]
        assert_works_as_new(engine)


@pytest.mark.parametrize(("failing", "held_up"), [(3, 0), (0, 3)], ids=["last", "first"])
def test_the_other_stages_stop_at_once(aborted: Event, failing: int, held_up: int) -> None:
    started: list[Cell] = []
    in_the_middle = Event()
    engine = make_engine("gpipe", (1, 3))

    def hold_up(cell: Cell, x: Tensor) -> None:
        started.append(cell)
        # By now the stage has more cells at hand, which it must leave alone.
        if cell == (0, 1):
            in_the_middle.set()
            assert aborted.wait(WAIT_S)

    # The failing stage is far ahead or behind, so the other one never waits for it.
    failing_cell = (0, 0) if failing == 3 else (2, 3)

    def fail(cell: Cell, x: Tensor) -> None:
        if cell == failing_cell:
            assert in_the_middle.wait(WAIT_S)
            raise Broken

    with (
        engine,
        before_each_cell(engine.model, held_up, hold_up),
        before_each_cell(engine.model, failing, fail),
        pytest.raises(Broken),
    ):
        engine.train_step(Windows(*make_batch()))

    assert started == [(0, 0), (0, 1)]


@pytest.mark.usefixtures("interrupts_raise")
@pytest.mark.parametrize("blocks", [(4,), (2, 2), (1, 1, 2)])
def test_an_interrupt_while_the_caller_waits_stops_the_stages(
    aborted: Event, blocks: tuple[int, ...]
) -> None:
    started: list[Cell] = []
    main_thread = threading.get_ident()

    def interrupt(cell: Cell, x: Tensor) -> None:
        started.append(cell)
        if cell == (0, 1):
            # A signal just before the caller starts to wait is not seen before the wait ends.
            for _ in range(int(WAIT_S)):
                signal.pthread_kill(main_thread, signal.SIGINT)
                if aborted.wait(1):
                    return

    with make_engine("gpipe", blocks) as engine:
        with (
            before_each_cell(engine.model, 0, interrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            engine.train_step(Windows(*make_batch()))

        assert started == [(0, 0), (0, 1)]
        assert_works_as_new(engine)


class InterruptedQueue:
    """Stands for a worker's queue; the first `put` meets an interrupt."""

    def __init__(self, queue: SimpleQueue[Any]) -> None:
        self._queue = queue
        self._interrupted = False

    def put(self, item: object) -> None:
        if not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt
        self._queue.put(item)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_an_interrupt_before_every_stage_has_its_work_stops_those_that_have(stage: int) -> None:
    with make_engine("one_f_one_b") as engine:
        queues: list[Any] = engine._workers._jobs
        queues[stage] = InterruptedQueue(queues[stage])

        with pytest.raises(KeyboardInterrupt):
            engine.train_step(Windows(*make_batch()))

        assert_works_as_new(engine)


def test_an_error_of_a_worker_that_is_no_exception_reaches_the_caller_too() -> None:
    with make_engine("gpipe") as engine:
        error = SystemExit("by hand")
        with failing_forward(engine.model, 1, (0, 1), error), pytest.raises(SystemExit):
            engine.train_step(Windows(*make_batch()))
        assert_works_as_new(engine)


def test_of_two_errors_the_first_reaches_the_caller(aborted: Event) -> None:
    first, second = Broken("first"), Broken("second")
    engine = make_engine("gpipe", (2, 2))

    def fail_later(cell: Cell, x: Tensor) -> None:
        if cell == (0, 1):
            assert aborted.wait(WAIT_S)
            raise second

    with (
        engine,
        before_each_cell(engine.model, 0, fail_later),
        failing_forward(engine.model, 2, (0, 0), first),
        pytest.raises(Broken) as caught,
    ):
        engine.train_step(Windows(*make_batch()))

    assert caught.value is first
