"""Lanes: how tensors leave and enter. What streams really do is tested on GPUs, in test_gpu.py."""

from unittest.mock import Mock

import pytest
import torch
from torch import Tensor

from gru_parallel.stage import lane as lane_module
from gru_parallel.stage.lane import CPULane, Packet, StreamLane, fill, make_lane

CPU = torch.device("cpu")


@pytest.fixture
def compute() -> Mock:
    """A stream that only notes what is asked of it."""
    return Mock()


@pytest.fixture
def stream_lane(compute: Mock) -> StreamLane:
    lane = object.__new__(StreamLane)
    lane.device = torch.device("cuda", 0)
    lane.compute, lane.copies = compute, Mock()
    lane._arrivals, lane._callers, lane._up_to_date, lane._has_sent = {}, {}, set(), False
    return lane


def test_the_cpu_has_a_cpu_lane() -> None:
    assert isinstance(make_lane(CPU), CPULane)


def test_between_cpu_lanes_a_tensor_goes_over_as_it_is() -> None:
    lane, tensor = CPULane(CPU), torch.ones(3)

    packet = lane.send(tensor, CPU)

    assert packet.ready is None
    assert lane.receive(packet) is tensor
    assert lane.fetch(tensor) is tensor


def test_a_cpu_lane_waits_for_what_an_accelerator_copies_to_it() -> None:
    ready = Mock()

    CPULane(CPU).receive(Packet(torch.ones(3), ready))

    # The host reads the memory itself: making a stream wait would not be enough.
    ready.synchronize.assert_called_once_with()


def test_what_is_copied_to_a_stream_lane_is_in_pinned_memory_and_in_one_piece(
    stream_lane: StreamLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[Tensor] = []

    def pin(tensor: Tensor) -> Tensor:
        assert tensor.is_contiguous()
        pinned.append(tensor)
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    stream_lane.device = torch.device("meta")
    part = torch.arange(12.0).view(3, 4)[:, 1:3]

    assert stream_lane.fetch(part).shape == (3, 2)
    fill(torch.empty(3, 2, device="meta"), part)
    assert [each.tolist() for each in pinned] == [part.tolist()] * 2
    # What is there already is left alone, and so is what the host waits for.
    there = torch.empty(2, device="meta")
    assert stream_lane.fetch(there) is there
    fill(torch.empty(3, 2), part)
    assert len(pinned) == 2


def test_of_another_accelerator_the_caller_s_stream_is_what_a_batch_is_copied_on(
    stream_lane: StreamLane, compute: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, caller, of_another_lane = torch.device("cuda", 1), Mock(), Mock()
    current = {other: of_another_lane}
    set_after: list[Mock] = []

    def set_stream(stream: Mock) -> None:
        set_after.append(stream)
        if stream is not compute:
            current[other] = stream

    monkeypatch.setattr(torch.accelerator, "current_stream", current.get)
    monkeypatch.setattr(torch.accelerator, "set_stream", set_stream)
    copied_on: list[object] = []
    monkeypatch.setattr(lane_module, "fill", lambda *_: copied_on.append(current[other]))
    stream_lane._callers = {other: caller}

    stream_lane.take(Mock(), Mock(device=other))

    assert copied_on == [caller]
    # The lane goes on where it was, and so does the other one.
    assert current == {other: of_another_lane}
    assert set_after[-1] is compute
    # What is on the own device, or on a CPU, is copied on the lane's own stream.
    set_after.clear()
    stream_lane.take(Mock(), Mock(device=stream_lane.device))
    stream_lane.take(Mock(), Mock(device=CPU))
    assert set_after == []


def test_a_stream_lane_waits_for_the_event_and_holds_on_to_the_memory(
    stream_lane: StreamLane, compute: Mock
) -> None:
    tensor, ready = Mock(), Mock()

    assert stream_lane.receive(Packet(tensor, ready)) is tensor

    compute.wait_event.assert_called_once_with(ready)
    tensor.record_stream.assert_called_once_with(compute)


def test_a_stream_lane_holds_on_to_memory_that_a_cpu_stage_filled(
    stream_lane: StreamLane, compute: Mock
) -> None:
    tensor = Mock()

    stream_lane.receive(Packet(tensor, None))

    compute.wait_event.assert_not_called()
    tensor.record_stream.assert_called_once_with(compute)


def test_between_stages_of_one_accelerator_nothing_is_copied(
    stream_lane: StreamLane, compute: Mock
) -> None:
    tensor = Mock(device=stream_lane.device)

    packet = stream_lane.send(tensor, stream_lane.device)

    assert packet.tensor is tensor
    assert packet.ready is compute.record_event.return_value
    tensor.to.assert_not_called()


def test_a_cpu_lane_waits_until_what_it_sends_is_in_the_room_of_an_accelerator() -> None:
    tensor, room = torch.ones(3), Mock()

    packet = CPULane(CPU).send(tensor, torch.device("cuda", 0), room)

    assert packet.tensor is room
    # Not `non_blocking`: the packet has no event to wait for.
    room.data.copy_.assert_called_once_with(tensor)


def test_a_step_within_a_step_gives_back_the_streams_of_the_caller(
    stream_lane: StreamLane, compute: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, current, devices = Mock(), ["caller"], [5]
    for name, function in {
        "current_stream": lambda _: current[-1],
        "set_stream": current.append,
        "current_device_index": lambda: devices[-1],
        "set_device_index": devices.append,
    }.items():
        monkeypatch.setattr(torch.accelerator, name, function)

    callers = {stream_lane.device: caller}
    with stream_lane.step(callers):
        with stream_lane.step(callers):
            assert current[-1] is compute
        assert current[-1] is compute
    assert (current[-1], devices[-1]) == ("caller", 5)
    assert caller.wait_stream.call_count == 2
