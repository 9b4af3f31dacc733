import pytest

from benchmarks import queueing
from benchmarks.__main__ import main


def test_queueing_is_measured_for_each_number_of_stages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(queueing, "N_STEPS", 1)
    monkeypatch.setattr(queueing, "N_BEFORE", 5)
    monkeypatch.setattr(queueing, "N_CHUNKS", 2)
    monkeypatch.setattr(queueing, "LAYERS", 2)
    assert main(["queueing", "--stages", "1", "2"]) == 0
    printed = capsys.readouterr().out
    assert "1 stages, 2 chunks: train_step " in printed
    assert "2 stages, 2 chunks: train_step " in printed
