"""Queues between stages: in order, addressed, and able to give up."""

from collections.abc import Callable
from threading import Thread

import pytest
import torch

from gru_parallel.engine.channel import Aborted, HandOver
from gru_parallel.engine.workers import QueueChannel
from gru_parallel.errors import ScheduleError
from gru_parallel.schedule import Action
from gru_parallel.stage.lane import Packet


def packet(number: float) -> HandOver:
    return Packet(torch.tensor(number)), None


def receive(channel: QueueChannel, text: str) -> float | None:
    received = channel.receive(Action.parse(text))
    return None if received is None else received[0].tensor.item()


def test_what_a_stage_sends_its_neighbour_receives_in_order() -> None:
    channel = QueueChannel(3)
    channel.send(Action.parse("0SEND_F0.0"), packet(1))
    channel.send(Action.parse("0SEND_F0.1"), packet(2))

    assert receive(channel, "1RECV_F0.0") == 1
    assert receive(channel, "1RECV_F0.1") == 2


def test_forward_and_backward_of_all_pairs_have_queues_of_their_own() -> None:
    channel = QueueChannel(3)
    channel.send(Action.parse("0SEND_F0.0"), packet(1))
    channel.send(Action.parse("1SEND_F0.0"), packet(2))
    channel.send(Action.parse("2SEND_B0.0"), packet(3))
    channel.send(Action.parse("1SEND_B0.0"), packet(4))

    assert receive(channel, "0RECV_B0.0") == 4
    assert receive(channel, "1RECV_B0.0") == 3
    assert receive(channel, "2RECV_F0.0") == 2
    assert receive(channel, "1RECV_F0.0") == 1


def test_the_ring_carries_no_tensor() -> None:
    channel = QueueChannel(3)
    channel.send(Action.parse("2SEND_F0.0"), None)

    assert receive(channel, "0RECV_F0.0") is None


def test_another_cell_than_the_one_that_is_due_is_an_error() -> None:
    channel = QueueChannel(2)
    channel.send(Action.parse("0SEND_F0.1"), packet(1))

    with pytest.raises(ScheduleError, match=r"1RECV_F0\.0 was to be received, 1RECV_F0\.1 arrived"):
        receive(channel, "1RECV_F0.0")


@pytest.mark.timeout(30)
def test_abort_wakes_every_stage_that_waits() -> None:
    channel = QueueChannel(2)
    woken: list[str] = []

    def wait_for(text: str) -> Callable[[], None]:
        def wait() -> None:
            with pytest.raises(Aborted):
                receive(channel, text)
            woken.append(text)

        return wait

    texts = ["0RECV_F0.0", "0RECV_B0.0", "1RECV_F0.0", "1RECV_B0.0"]
    threads = [Thread(target=wait_for(text), daemon=True) for text in texts]
    for thread in threads:
        thread.start()
    channel.abort()
    for thread in threads:
        thread.join(10)

    assert sorted(woken) == sorted(texts)


def test_a_stage_that_waits_for_nothing_learns_of_an_abort_when_it_asks() -> None:
    channel = QueueChannel(2)
    channel.begin(Action.parse("0F0.0"))

    channel.abort()

    with pytest.raises(Aborted):
        channel.begin(Action.parse("0F0.0"))
