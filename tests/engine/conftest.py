"""What the tests of engines share: a sign that a step has been called off, and early recordings."""

from threading import Event

import pytest

from gru_parallel.engine import graphs
from gru_parallel.engine.workers import QueueChannel


@pytest.fixture
def aborted(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Set when a step has been called off; tests hold stages up with it instead of sleeping."""
    event = Event()
    abort = QueueChannel.abort

    def patched(channel: QueueChannel, error: BaseException | None = None) -> None:
        abort(channel, error)
        event.set()

    monkeypatch.setattr(QueueChannel, "abort", patched)
    return event


@pytest.fixture
def recorded_from_the_second_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record a call of a kind at its second time."""
    monkeypatch.setattr(graphs, "N_EAGER", 1)
