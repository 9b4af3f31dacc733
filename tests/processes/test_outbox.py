"""Outbox: sent tensors live until they are gone, and nobody waits for them."""

import threading
import weakref
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist

from gru_parallel.processes.outbox import Outbox
from tests.engine.patches import WAIT_S

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_thread_left")]


class Sending:
    """A send that is done when the test says so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.waited_for = threading.Event()
        self.is_done = threading.Event()
        self._error = error

    def wait(self) -> bool:
        self.waited_for.set()
        assert self.is_done.wait(WAIT_S)
        if self._error is not None:
            raise self._error
        return True


def keep(outbox: Outbox, sending: Sending) -> threading.Event:
    """Keep a tensor, and set the event when it is gone."""
    tensor, gone = torch.zeros(3), threading.Event()
    weakref.finalize(tensor, gone.set)
    outbox.keep(cast("dist.Work", cast(Any, sending)), tensor)
    return gone


def test_a_tensor_is_kept_until_its_send_is_done_and_no_longer() -> None:
    outbox, first, second = Outbox(), Sending(), Sending()

    first_is_gone, second_is_gone = keep(outbox, first), keep(outbox, second)
    assert first.waited_for.wait(WAIT_S)
    assert not first_is_gone.is_set()
    first.is_done.set()
    assert first_is_gone.wait(WAIT_S)
    assert second.waited_for.wait(WAIT_S)
    assert not second_is_gone.is_set()
    second.is_done.set()
    # Though nothing is sent after it.
    assert second_is_gone.wait(WAIT_S)

    outbox.close()


def test_an_outbox_that_is_dropped_ends_its_thread() -> None:
    outbox, sending = Outbox(), Sending()
    keep(outbox, sending)
    sending.is_done.set()

    # The fixture looks whether the thread ends.
    del outbox


def test_closing_waits_until_all_is_sent() -> None:
    outbox, sending = Outbox(), Sending()
    keep(outbox, sending)

    closing = threading.Thread(target=outbox.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    sending.is_done.set()
    closing.join(WAIT_S)
    assert not closing.is_alive()


def test_a_send_that_fails_ends_the_wait_for_those_after_it() -> None:
    outbox = Outbox()
    failed, never_done = Sending(RuntimeError("Connection closed by peer")), Sending()
    keep(outbox, failed)
    keep(outbox, never_done)

    failed.is_done.set()
    outbox.close()

    assert not never_done.waited_for.is_set()


def test_a_closed_outbox_can_be_used_again() -> None:
    outbox = Outbox()
    outbox.close()
    for _ in range(2):
        sending = Sending()
        sending.is_done.set()
        gone = keep(outbox, sending)
        outbox.close()
        assert gone.is_set()
