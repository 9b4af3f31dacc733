"""A step that is replayed is one list of calls, and stops, fails and is timed like any other."""

import signal
import threading
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor

from gru_parallel.engine import graphs
from gru_parallel.engine.channel import Aborted
from gru_parallel.engine.interpreter import Interpreter
from gru_parallel.engine.replay import BoundCalls, Replay
from gru_parallel.engine.threads import ThreadEngine
from gru_parallel.model import Windows
from gru_parallel.schedule import Action
from gru_parallel.stage.cpu_recorder import CPURecording
from tests.builders import SMALL_MSE, build_model, make_batch, make_plan
from tests.engine.patches import WAIT_S

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("no_thread_left", "little_to_collect"),
]


class Broken(Exception):
    """What the tests break replays with."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadEngine]:
    """Return one with two stages that has recorded a step of 2 x 2 cells."""
    monkeypatch.setattr(graphs, "N_EAGER", 0)
    plan = make_plan((1, 1), "one_f_one_b", 2, 2)
    with ThreadEngine(build_model(2, dropout=0.3), plan, SMALL_MSE, graphs=True) as engine:
        yield engine


def step(engine: ThreadEngine, number: int = 0) -> list[Tensor]:
    engine.model.zero_grad()
    loss = engine.train_step(Windows(*make_batch(n_steps=4)), number)
    loss.backward()
    return [loss.detach(), *(w.grad for w in engine.model.parameters() if w.grad is not None)]


def at_replay(
    number: int, do: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> list[CPURecording]:
    """Do something before a replay; return those that there were, that one included."""
    seen: list[CPURecording] = []
    replay = CPURecording.replay

    def noted(recording: CPURecording) -> None:
        seen.append(recording)
        if len(seen) == number:
            do()
        replay(recording)

    monkeypatch.setattr(CPURecording, "replay", noted)
    return seen


def fail() -> None:
    raise Broken("out of power")


# On two stages: F of two cells, and then in turns.
@pytest.mark.parametrize(
    ("number", "stage", "action"),
    [(1, 0, "0F0.0 (micro-batch 0, chunk 0)"), (16, 0, "0B1.0 (micro-batch 1, chunk 0)")],
)
def test_an_error_names_stage_device_action_and_cell(
    engine: ThreadEngine,
    number: int,
    stage: int,
    action: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_replay(number, fail, monkeypatch)

    with pytest.raises(Broken, match="out of power") as caught:
        step(engine)

    assert caught.value.__notes__ == [f"while stage {stage} on cpu:{stage} ran {action}"]
    assert engine.running == {}


def test_after_an_error_the_next_step_is_as_ever(
    engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the second step, of 16 replays.
    at_replay(16 + 9, fail, monkeypatch)
    expected = step(engine)
    with pytest.raises(Broken):
        step(engine)

    assert all(map(torch.equal, step(engine), expected))
    assert engine.why_not_replayed is None


def test_the_step_after_an_error_that_somebody_keeps_has_no_recording_of_its_own(
    engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_replay(16 + 9, fail, monkeypatch)
    step(engine)
    assert engine._graphs is not None
    (recorded,) = engine._graphs._recorded

    # As a notebook does, whose traceback has all that the step had.
    with pytest.raises(Broken) as kept:
        step(engine)
    step(engine)

    assert kept.tb is not None
    assert len(engine._graphs._recorded) == 1
    assert engine._graphs._recorded[0] is recorded


@pytest.mark.usefixtures("interrupts_raise")
def test_an_interrupt_while_the_caller_waits_stops_the_replays(
    engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    aborted, main_thread = Event(), threading.get_ident()
    abort = Replay.abort

    def noted(replay: Replay, *error: BaseException) -> None:
        abort(replay, *error)
        aborted.set()

    def interrupt() -> None:
        # A signal just before the caller starts to wait is not seen before the wait ends.
        for _ in range(int(WAIT_S)):
            signal.pthread_kill(main_thread, signal.SIGINT)
            if aborted.wait(1):
                return

    monkeypatch.setattr(Replay, "abort", noted)
    seen = at_replay(5, interrupt, monkeypatch)

    with pytest.raises(KeyboardInterrupt):
        step(engine)

    assert len(seen) == 5
    assert engine.running == {}
    step(engine)
    assert engine.why_not_replayed is None


def test_what_each_stage_does_is_seen_from_other_threads(
    engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[int, Action]] = []
    at_replay(1, lambda: found.append(engine.running), monkeypatch)
    step(engine)
    # The second stage is still to begin.
    assert found == [{0: Action.parse("0F0.0"), 1: Action.parse("1RECV_F0.0")}]
    assert engine.running == {}


def test_of_a_replay_a_stage_that_is_done_is_not_running() -> None:
    actions = [Action.parse(name) for name in ("1B0.0", "0B0.0", "0B0.1")]
    found: list[dict[int, Action]] = []
    replay = Replay(BoundCalls([lambda: found.append(replay.running)] * 3, actions, {}))

    replay.run()

    last, one, other = actions
    assert found == [{1: last, 0: one}, {0: one}, {0: other}]


def test_a_replay_ends_with_the_call_after_which_it_was_stopped() -> None:
    called: list[int] = []
    actions = [Action.parse(f"0F0.{chunk}") for chunk in range(3)]
    calls: list[Callable[[], object]] = [
        lambda: called.append(0),
        lambda: replay.abort(),
        lambda: called.append(2),
    ]
    replay = Replay(BoundCalls(calls, actions, {}))

    with pytest.raises(Aborted):
        replay.run()

    assert called == [0]
    assert replay.running == {0: actions[2]}


def test_a_step_that_is_timed_is_replayed_action_by_action_to_the_same_bits(
    engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreted: list[Any] = []
    run = Interpreter.run

    def noted(self: Interpreter, *arguments: Any) -> Any:
        interpreted.append(self)
        return run(self, *arguments)

    step(engine)
    monkeypatch.setattr(Interpreter, "run", noted)
    found = []
    for number in range(3):
        for engine.measure in (False, True):
            interpreted.clear()
            found.append(step(engine, number))
            assert engine.why_not_replayed is None
            assert len(interpreted) == (2 if engine.measure else 0)
            assert (engine.timeline is not None) == engine.measure
        # F and B of 2 x 2 cells on 2 stages, and what goes over.
        assert engine.timeline is not None
        assert len(engine.timeline.events) == 16 + 16
        assert all(map(torch.equal, *found[-2:]))
