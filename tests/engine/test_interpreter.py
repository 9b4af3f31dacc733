"""The one loop: which action goes to whom, what is timed, what an error says."""

from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, ClassVar, cast

import pytest
import torch

from gru_parallel.engine.channel import Aborted
from gru_parallel.engine.interpreter import Interpreter
from gru_parallel.engine.workers import QueueChannel
from gru_parallel.schedule import Action, Cell, Event, Op
from gru_parallel.stage.lane import CPULane
from gru_parallel.stage.section import Parcel
from gru_parallel.stage.stage_pass import StagePass

CPU = torch.device("cpu")


class CountingLane(CPULane):
    def __init__(self) -> None:
        super().__init__(CPU)
        self.waited_until: list[float] = []

    def synchronize(self) -> None:
        self.waited_until.append(perf_counter())


@dataclass
class ScriptedPass:
    """The middle one of three stages; adds 1 forward and 10 backward."""

    index: int = 1
    name: str = "cpu:4"
    lane: CountingLane = field(default_factory=CountingLane)
    seen: list[tuple[str, Cell, float]] = field(default_factory=list)
    error: Exception | None = None
    send_to: dict[tuple[Op, Cell], Parcel] = field(default_factory=dict)

    @property
    def stage(self) -> "ScriptedPass":
        return self

    def forward(self, cell: Cell, received: Parcel) -> list[Parcel]:
        assert received.tensor is not None
        self.seen.append(("F", cell, received.tensor.item()))
        return [replace(received, tensor=received.tensor + 1)]

    def backward(self, cell: Cell, received: Parcel) -> list[Parcel]:
        if self.error is not None:
            raise self.error
        assert received.tensor is not None
        self.seen.append(("B", cell, received.tensor.item()))
        return [replace(received, tensor=received.tensor + 10)]

    def weights(self, cell: Cell) -> None:
        self.seen.append(("W", cell, 0.0))


def actions(text: str) -> list[Action]:
    return [Action.parse(word) for word in text.split()]


LISTS = [
    actions("0SEND_F0.0 0SEND_F0.1 0RECV_B0.1 0RECV_B0.0"),
    actions(
        "1RECV_F0.0 1F0.0 1SEND_F0.0 1RECV_F0.1 1F0.1 1SEND_F0.1"
        " 1RECV_B0.1 1B0.1 1SEND_B0.1 1RECV_B0.0 1B0.0 1SEND_B0.0"
    ),
    actions("2RECV_F0.0 2RECV_F0.1 2SEND_B0.1 2SEND_B0.0"),
]


def make_channel() -> QueueChannel:
    """A channel on which the neighbours have sent all that they will."""
    channel = QueueChannel(3)
    lane = CPULane(CPU)
    sends = [LISTS[0][0], LISTS[0][1], LISTS[2][2], LISTS[2][3]]
    for number, send in zip([1.0, 2.0, 3.0, 4.0], sends, strict=True):
        channel.send(send, (lane.send(torch.tensor(number), CPU), None))
    return channel


def run(stage: ScriptedPass, channel: QueueChannel, **options: Any) -> list[Event]:
    interpreter = Interpreter(
        cast(StagePass, stage), channel, [CPU] * 3, wait=options.get("wait", False)
    )
    return interpreter.run(LISTS[1], options.get("start", 0.0))


def test_what_is_received_is_computed_on_and_sent_on() -> None:
    stage, channel = ScriptedPass(), make_channel()

    run(stage, channel)

    assert stage.seen == [("F", (0, 0), 1), ("F", (0, 1), 2), ("B", (0, 1), 3), ("B", (0, 0), 4)]
    receives = [*LISTS[2][:2], *LISTS[0][2:]]
    packets = [channel.receive(action) for action in receives]
    assert [sent[0].tensor.item() for sent in packets if sent is not None] == [2, 3, 13, 14]


def test_a_weights_gradient_takes_in_nothing_and_is_timed() -> None:
    stage = ScriptedPass()
    interpreter = Interpreter(cast(StagePass, stage), QueueChannel(3), [CPU] * 3, wait=False)

    events = interpreter.run(actions("1W0.1 1W0.0"), 0.0)

    assert stage.seen == [("W", (0, 1), 0.0), ("W", (0, 0), 0.0)]
    assert [str(event.action) for event in events] == ["1W0.1", "1W0.0"]


def test_a_state_goes_along_with_its_tensor() -> None:
    stage, channel = ScriptedPass(), QueueChannel(3)
    lane = CPULane(CPU)
    packets = (lane.send(torch.tensor(1.0), CPU), lane.send(torch.tensor(5.0), CPU))
    channel.send(LISTS[0][0], packets)

    Interpreter(cast(StagePass, stage), channel, [CPU] * 3, wait=False).run(LISTS[1][:3], 0.0)

    received = channel.receive(LISTS[2][0])
    assert received is not None
    _, state = received
    assert state is not None
    assert state.tensor.item() == 5


def test_what_a_barrier_gives_out_late_is_sent_cell_by_cell() -> None:
    class Barrier(ScriptedPass):
        held: ClassVar[list[Parcel]] = []

        def forward(self, cell: Cell, received: Parcel) -> list[Parcel]:
            self.held.append(received)
            return self.held if cell[1] == 1 else []

    channel = make_channel()
    lists = actions("1RECV_F0.0 1F0.0 1RECV_F0.1 1F0.1 1SEND_F0.0 1SEND_F0.1")

    Interpreter(cast(StagePass, Barrier()), channel, [CPU] * 3, wait=False).run(lists, 0.0)

    received = [channel.receive(action) for action in LISTS[2][:2]]
    assert [sent[0].tensor.item() for sent in received if sent is not None] == [1, 2]


def test_every_action_is_timed_in_its_order_on_the_callers_clock() -> None:
    start = perf_counter()

    events = run(ScriptedPass(), make_channel(), start=start)

    end_ms = (perf_counter() - start) * 1e3
    assert [event.action for event in events] == LISTS[1]
    times = [time for event in events for time in (event.start_ms, event.end_ms)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= end_ms


def test_the_device_is_waited_for_before_the_first_action_and_after_each_only_to_measure() -> None:
    measured, free = ScriptedPass(), ScriptedPass()

    events = run(measured, make_channel(), wait=True)
    run(free, make_channel())

    before, *after = (moment * 1e3 for moment in measured.lane.waited_until)
    assert before <= events[0].start_ms
    assert len(after) == len(events)
    for moment, event in zip(after, events, strict=True):
        assert event.start_ms <= moment <= event.end_ms
    assert free.lane.waited_until == []


def test_an_error_is_the_original_one_with_stage_device_action_and_cell_noted() -> None:
    error = ZeroDivisionError("by hand")

    with pytest.raises(ZeroDivisionError) as caught:
        run(ScriptedPass(error=error), make_channel())

    assert caught.value is error
    assert error.__notes__ == ["while stage 1 on cpu:4 ran 1B0.1 (micro-batch 0, chunk 1)"]


def test_a_step_that_was_called_off_stops_before_the_next_action() -> None:
    stage, channel = ScriptedPass(), make_channel()
    channel.abort()

    with pytest.raises(Aborted) as caught:
        run(stage, channel)

    assert stage.seen == []
    assert not hasattr(caught.value, "__notes__")
