"""What `python -m benchmarks` does around a measurement."""

from pathlib import Path

import pytest

import benchmarks.__main__ as command
from benchmarks import results
from benchmarks.speed import SPEED
from tests.benchmarks.test_results import RESULTS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results are saved; `speed` takes no time."""
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(type(SPEED), "measure", lambda *_: RESULTS.numbers)
    return tmp_path


def test_a_measurement_that_cannot_be_printed_is_saved(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(command, "print_report", fail)
    with pytest.raises(BrokenPipeError):
        command.main(["speed", "--save", "mine"])

    assert results.load("mine", SPEED).numbers == RESULTS.numbers


def test_results_of_another_benchmark_are_not_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("nothing should be measured")

    for _ in range(2):
        assert command.main(["speed", "--save", "mine"]) == 0
    kept = (folder / "mine.json").read_text()
    monkeypatch.setattr(type(SPEED), "measure", fail)

    assert command.main(["packed", "--save", "mine"]) == 2

    assert "would replace results of speed" in capsys.readouterr().err
    assert (folder / "mine.json").read_text() == kept
