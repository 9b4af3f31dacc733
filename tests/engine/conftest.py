"""What the tests of engines share: a sign that a step has been called off."""

from threading import Event

import pytest

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
