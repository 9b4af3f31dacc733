"""Calls that are not recorded for what is known of them before they run."""

from unittest.mock import Mock

import pytest
import torch

from gru_parallel.engine.not_recorded import why_not_recorded


def test_what_the_caller_records_in_a_graph_is_not_recorded_in_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Mock()
    stage.lane.device = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)

    found = why_not_recorded(Mock(), [stage], [], wanted=True, gradients=False)

    assert found == "the caller records a graph"
