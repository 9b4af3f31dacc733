"""Has cuts of an `nn.GRU` listed, and none of them made."""

from types import SimpleNamespace

import pytest

from gru_parallel.verification import cuts
from gru_parallel.verification.difference import Differences


def make_no_cut(monkeypatch: pytest.MonkeyPatch, found: Differences) -> None:
    """Have each cut be off by what is given, which takes seconds less than to see it."""
    gru = SimpleNamespace(from_torch=lambda *_, **__: None)
    monkeypatch.setattr(cuts, "GRU", gru)
    monkeypatch.setattr(cuts, "run", lambda *_: None)
    monkeypatch.setattr(cuts, "compare", lambda *_: found)
