"""A step that fails leaves no thread, no memory and no work behind, and none that starts does."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Event, Thread
from typing import Any
from unittest.mock import patch
from weakref import ref

import pytest
import torch
from torch import Tensor, nn

from gru_parallel.choices import AUTO_CORES
from gru_parallel.dropin import borrowed_stack
from gru_parallel.engine import pipeline
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import BidirectionalBlock, Windows
from gru_parallel.model.bidirectional import FORWARD, REVERSE
from gru_parallel.schedule import Cell
from gru_parallel.stage.lane import CPULane
from gru_parallel.stage.stage_pass import StagePass
from tests.builders import MSE, build_model, gradients_of, make_batch, make_plan
from tests.dropin.twins import assert_same, gradients, make_twins, make_x, weighted_sum
from tests.engine.patches import before_each_back, before_each_cell, before_each_direction
from tests.eventually import eventually

# A hang is the failure that most of these tests look for.
pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_left")]

WAIT_S = 20.0
PAIRS = ("cpu:0+cpu:2", "cpu:1+cpu:3")


class Broken(Exception):
    """What the tests break blocks with."""


def workers() -> list[Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("gru_parallel")]


def end_by_themselves(started: list[Thread]) -> None:
    for thread in started:
        thread.join(5)
    assert not any(thread.is_alive() for thread in started)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is dropped has to go by itself, as soon as it is: cycles would stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[ref[StagePass]]:
    """All passes that are made."""
    made: list[ref[StagePass]] = []

    def make(*arguments: Any) -> StagePass:
        new = StagePass(*arguments)
        made.append(ref(new))
        return new

    for module in (pipeline, borrowed_stack):
        monkeypatch.setattr(module, "StagePass", make)
    return made


def engine_of(both_ways: bool) -> ThreadEngine:
    plan = make_plan([2, 2], "one_f_one_b", 2, 3, devices=PAIRS if both_ways else None)
    return ThreadEngine(build_model(bidirectional=both_ways), plan, MSE)


def fail(*_: Any) -> None:
    # A new one each time: one that is kept would keep what its traceback holds.
    raise Broken


def fail_forward(engine: ThreadEngine) -> AbstractContextManager[None]:
    def act(cell: Cell, x: Tensor) -> None:
        if cell == (1, 1):
            fail()

    return before_each_cell(engine.model, 2, act)


def fail_backward(engine: ThreadEngine) -> AbstractContextManager[None]:
    def act(cell: Cell) -> None:
        if cell == (0, 1):
            fail()

    return before_each_back(engine.model, 2, act)


def fail_direction(direction: int) -> AbstractContextManager[None]:
    """Make F of one direction of the second layer fail."""

    def act(layer: int, own: int) -> None:
        if (layer, own) == (1, direction):
            fail()

    return before_each_direction(act)


@contextmanager
def fail_direction_back(direction: int) -> Iterator[None]:
    """Make B of one direction of the second layer fail."""
    run = BidirectionalBlock.run_direction

    def patched(self: BidirectionalBlock, k: int, own: int, x: Tensor, *rest: Any) -> Any:
        if (self.first_layer + k, own) == (1, direction) and x.requires_grad:
            x.register_hook(fail)
        return run(self, k, own, x, *rest)

    with patch.object(BidirectionalBlock, "run_direction", patched):
        yield


FAILURES: dict[str, tuple[bool, Callable[[ThreadEngine], AbstractContextManager[None]]]] = {
    "F": (False, fail_forward),
    "B": (False, fail_backward),
    "F of the forward direction": (True, lambda _: fail_direction(FORWARD)),
    "F of the reverse direction": (True, lambda _: fail_direction(REVERSE)),
    "B of the forward direction": (True, lambda _: fail_direction_back(FORWARD)),
    "B of the reverse direction": (True, lambda _: fail_direction_back(REVERSE)),
}


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", FAILURES)
def test_the_passes_of_a_failed_step_are_gone_with_its_error(
    name: str, passes: list[ref[StagePass]]
) -> None:
    both_ways, break_it = FAILURES[name]
    with engine_of(both_ways) as engine:
        with break_it(engine), suppress(Broken):
            engine.train_step(Windows(*make_batch()))
            pytest.fail("it did not break")

        assert len(passes) == 2
        assert eventually(lambda: [each() for each in passes] == [None, None])


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", FAILURES)
def test_the_threads_of_an_engine_end_when_it_is_dropped_after_a_failed_step(name: str) -> None:
    both_ways, break_it = FAILURES[name]
    engine = engine_of(both_ways)
    with break_it(engine), suppress(Broken):
        engine.train_step(Windows(*make_batch()))
    started = workers()
    assert len(started) == (4 if both_ways else 2)
    del engine

    end_by_themselves(started)


@pytest.mark.parametrize("name", FAILURES)
def test_after_a_failed_step_an_engine_works_as_new_and_closes(name: str) -> None:
    both_ways, break_it = FAILURES[name]
    with engine_of(both_ways) as engine:
        with break_it(engine), pytest.raises(Broken):
            engine.train_step(Windows(*make_batch()))
        # The error is still held, and with it whatever its frames hold.
        engine.train_step(Windows(*make_batch())).backward()
    assert workers() == []

    with engine_of(both_ways) as fresh:
        fresh.train_step(Windows(*make_batch())).backward()
    for name_of, expected in gradients_of(fresh.model).items():
        found = gradients_of(engine.model)[name_of]
        assert expected is not None
        assert found is not None
        assert torch.equal(found, expected), name_of


def test_no_worker_computes_with_a_parameter_itself() -> None:
    # Autograd keeps a node for each leaf, on the stream where it was first used, as long as a graph
    # has it: those of a failed step, kept by its error, are not to be those of the next backward.
    used: set[int] = set()

    def note(gru: nn.GRU, x: Tensor, h_0: Tensor) -> tuple[Tensor, Tensor]:
        used.update(map(id, gru._flat_weights))
        return forward(gru, x, h_0)

    forward = nn.GRU.forward
    _, ours = make_twins({"device_map": PAIRS}, bidirectional=True)
    with (
        patch.dict(AUTO_CORES, clear=True),
        patch.object(nn.GRU, "forward", note),
        engine_of(both_ways=True) as engine,
    ):
        engine.train_step(Windows(*make_batch()))
        ours(make_x())

    assert used
    assert used.isdisjoint(map(id, (*engine.model.parameters(), *ours.parameters())))


def test_no_part_of_a_step_runs_on_after_it_has_failed() -> None:
    held_up, let_go, done = Event(), Event(), Event()

    def act(layer: int, direction: int) -> None:
        if layer == 2 and direction == REVERSE:
            held_up.set()
            assert let_go.wait(WAIT_S)
            done.set()
        elif layer == 2:
            assert held_up.wait(WAIT_S)
            threading.Timer(0.2, let_go.set).start()
            fail()

    with engine_of(both_ways=True) as engine, before_each_direction(act):
        with pytest.raises(Broken):
            engine.train_step(Windows(*make_batch()))
        assert done.is_set()


DIRECTIONS = pytest.mark.parametrize("direction", [FORWARD, REVERSE], ids=["forward", "reverse"])


@DIRECTIONS
def test_the_drop_in_works_as_new_after_a_failed_backward(direction: int) -> None:
    plain, ours = make_twins({"device_map": PAIRS, "n_chunks": 3}, bidirectional=True)
    with fail_direction_back(direction):
        loss = weighted_sum(ours(make_x()))
        with pytest.raises(Broken):
            loss.backward()
    weighted_sum(ours(make_x())).backward()

    weighted_sum(plain(make_x())).backward()
    assert_same(gradients(ours), gradients(plain))


@pytest.mark.usefixtures("no_collector")
@DIRECTIONS
@pytest.mark.parametrize("breaking", [fail_direction, fail_direction_back], ids=["F", "B"])
def test_the_threads_of_a_drop_in_end_with_it_after_a_failure(
    breaking: Callable[[int], AbstractContextManager[None]], direction: int
) -> None:
    def run_and_drop() -> None:
        _, ours = make_twins({"device_map": PAIRS, "n_chunks": 3}, bidirectional=True)
        weighted_sum(ours(make_x())).backward()

    with breaking(direction), suppress(Broken):
        run_and_drop()
        pytest.fail("it did not break")

    end_by_themselves(workers())


@pytest.mark.parametrize("of_kind", [Thread, CPULane], ids=["caller", "worker"])
def test_workers_that_cannot_all_start_leave_none_behind(
    of_kind: type[Thread] | type[CPULane], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(both_ways=True)
    expected = RuntimeError("no more threads")
    start: Callable[[Any], None] = of_kind.start

    def fail_for_stage_1(self: Thread | CPULane) -> None:
        thread = self if isinstance(self, Thread) else threading.current_thread()
        if thread.name.startswith("gru_parallel stage 1"):
            raise expected
        start(self)

    with monkeypatch.context() as patching:
        patching.setattr(of_kind, "start", fail_for_stage_1)
        with pytest.raises(RuntimeError) as caught:
            engine.train_step(Windows(*make_batch()))
        assert caught.value is expected
    assert workers() == []

    with engine:
        engine.train_step(Windows(*make_batch())).backward()


def test_an_assistant_that_cannot_start_leaves_no_thread_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = CPULane.start

    def fail_beside_stage_1(self: CPULane) -> None:
        if "assistant (cpu:3)" in threading.current_thread().name:
            fail()
        start(self)

    monkeypatch.setattr(CPULane, "start", fail_beside_stage_1)
    with pytest.raises(Broken):
        engine_of(both_ways=True).train_step(Windows(*make_batch()))
    assert workers() == []
