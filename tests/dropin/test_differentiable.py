"""The two halves of a step on an accelerator, whose streams are stand-ins here."""

from unittest.mock import Mock

import pytest
import torch

from gru_parallel.dropin import differentiable
from gru_parallel.dropin.differentiable import Arrived

CUDA = torch.device("cuda", 0)


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The current stream of every device."""
    stream = Mock()
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda _: stream)
    return stream


def test_the_gradients_of_the_outputs_are_waited_for_by_the_stream_and_not_by_the_host(
    current: Mock,
) -> None:
    dh_n, ready = Mock(device=CUDA), Mock()

    assert Arrived(None, dh_n, ready).take() == (None, dh_n)

    current.wait_event.assert_called_once_with(ready)
    ready.synchronize.assert_not_called()


@pytest.mark.parametrize("is_captured", [False, True])
def test_the_host_waits_for_b_unless_the_caller_records_a_graph(
    is_captured: bool, current: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: is_captured)

    differentiable._wait_for([Mock(device=CUDA), None, torch.zeros(1)])

    assert current.synchronize.call_count == (0 if is_captured else 1)
